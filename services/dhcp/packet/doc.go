// Package packet reads DHCPv4 requests and writes replies without allocating
// (RFC 2131, 2132): option overload, options split over several instances
// (RFC 3396), relay information with link selection (RFC 3046, 3527) and server
// id override (RFC 5107), subnet selection (RFC 3011), the client id in replies
// (RFC 6842), BOOTP (RFC 951, 1534). What does not fit the client's size goes into
// free fields of the header, and what does not fit there is left out, the last
// requested first.
//
// Left out: hardware other than Ethernet.
package packet
