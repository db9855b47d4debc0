// Package dhcp6 is the DHCPv6 server of the helper node (RFC 8415): fixed
// addresses and boot file URLs (RFC 5970) for the machines of the plan, pool
// addresses and other parameters for machines of networks with a pool.
//
// It is a service beside dhcp and not a part of it: the two protocols share a
// name and little else, each has its own port and plan, and a panic in one
// leaves the other serving.
//
// Package engine decides; this package has the sockets. Each interface has one UDP
// socket on port 547 that is bound to the device and joined to ff02::1:2, which
// clients send to, and ff05::1:3, which relays send to.
//
// A pool lease is on disk before its Reply is sent: Replies queue while a
// transaction is under way, and all that queued share the next one.
// Reservations are configuration and are answered at once.
//
// DHCPv6 gives no route and no prefix: those come by router advertisements, of the
// router or of the helper, and most systems ask for DHCPv6 only when the
// advertisement's M flag tells them to. UEFI firmware asks without.
package dhcp6
