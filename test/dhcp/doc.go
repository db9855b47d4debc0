// Package dhcp says case by case how the DHCPv4 server behaves, packet by packet,
// and proves that ISC dhcpd and dnsmasq behave so too.
//
// Each case names the RFC and the section that it rests on. It speaks through a
// raw socket at one end of a link; at the other end is the helperd binary, or a
// peer with the configuration that means the same (testdata). Where a peer does
// otherwise the case says why, and must fail there. A case that no peer
// passes says why the RFC alone is enough.
//
// Messages are written and read by a codec of this package's own: what the server
// says is not judged by its own code.
package dhcp
