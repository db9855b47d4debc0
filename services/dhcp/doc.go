// Package dhcp is the DHCPv4 server of the helper node (RFC 2131, 2132): fixed
// addresses and boot files for the machines of the plan, pool addresses for
// others.
//
// Package engine decides, package packet reads and writes messages; this
// package has the sockets. Each interface has one UDP socket that is bound to
// the device, read in batches. Answers to clients on the link leave as complete
// frames (AF_PACKET): a client that has no address yet cannot answer ARP, and
// the kernel's neighbour table may still have the machine that had the address
// before. Answers to relays leave by the UDP socket.
//
// A second AF_PACKET socket hears what other servers answer; a DHCPDISCOVER now
// and then makes them speak up.
//
// A pool lease is on disk before its ACK is sent: ACKs queue while a
// transaction is under way, and all that queued share the next one.
// Reservations are configuration and are answered at once. While the disk fails,
// clients are promised no more than it has of their leases already; see
// state.Health for how that ends.
//
// A third sends ARP probes for pool addresses (RFC 5227) and hears who has them.
// No reader waits: not for a probe, the disk, or a socket that is full.
//
// Where a network has mode proxy another server gives the addresses, and this one
// tells nodes what to boot, on port 67 and on port 4011 (PXE specification 2.1
// section 2.2, RFC 4578).
//
// Left out: DHCPv6 (package dhcp6), boot menus and multicast discovery of PXE, failover.
package dhcp
