// Package ra sends router advertisements (RFC 4861 section 6.2, with the DNS
// options of RFC 8106 and the routes of RFC 4191), so that machines on IPv6
// networks ask DHCPv6 for their addresses, know which addresses are on their
// link and whom to ask for names. It says when another router contradicts that.
//
// It is a service of its own beside DHCPv6: it shares neither sockets nor state
// with it, serves links on which the addresses come from elsewhere, and is not to
// end with it.
//
// Each interface is one router: its advertisements carry all networks of the
// file that are on it. The sockets are raw ICMPv6 ones (CAP_NET_RAW), bound to the
// link-local address of the interface by github.com/mdlayher/ndp.
//
// Left out: SLAAC prefixes, SEND (RFC 3971), home agents, proxies, NAT64
// prefixes, and forwarding packets, which is the kernel's.
package ra
