// Package engine decides what a DHCPv6 client gets (RFC 8415 section 18.3). It
// has no sockets, clock or goroutines: datagram and time go in, answer and lease
// records come out. One writer drives it.
//
// Machines of the plan are found by MAC, whatever DUID and IAID their firmware,
// loader and system use, and always get the same address. DHCPv6 messages carry
// no MAC, so it is looked for where it cannot be copied with a disk image first:
// what the relay saw (RFC 6939), the link-local address that the client sends from
// (EUI-64), its DUID (LLT, LL), and at last the kernel's neighbour table. UEFI has
// a DUID-UUID and an EUI-64 address, NetworkManager a DUID-LL and a random one.
//
// Others get pool addresses by DUID and IAID, where there is a pool. A machine in
// no list whose firmware asks to boot from the network gets no answer: it must not
// reach an installer.
//
// Left out: prefix delegation and temporary addresses (clients are told so),
// Reconfigure, authentication, leasequery, the Server Unicast option, and boot
// file parameters (60): nothing that is booted here takes any.
package engine
