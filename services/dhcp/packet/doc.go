// Package packet reads DHCPv4 requests and writes replies without allocating
// (RFC 2131, 2132): option overload, options split over several instances
// (RFC 3396), relay information with link selection (RFC 3046, 3527), subnet
// selection (RFC 3011), the client id in replies (RFC 6842).
//
// Left out: BOOTP without a message type, hardware other than Ethernet, and
// option overload in replies: what does not fit the client's size is left out,
// the last requested first.
package packet
