// Package engine decides what a DHCP client gets (RFC 2131 section 4.3). It
// is a state machine without sockets, clock or goroutines: request and time
// go in, answer and lease record come out. One writer drives it.
//
// Machines of the plan are found by MAC, whatever client id their firmware,
// loader and system use, else by UUID or client id, and always get the same
// address, by BOOTP too (RFC 951, 1534). A client that asks for it gets its
// address for its first word (RFC 4039), unless another server is on the network. Others get pool
// addresses by client id, then MAC: the same one again as long as it is free,
// else one that was never used, else the one that has been free longest. An
// offered address is held for a minute. A machine in no list whose firmware
// asks to boot from the network gets no answer: it must not reach an installer.
//
// What it offers on a link of this machine it wants probed for a conflict first,
// and who asks without taking what is offered is limited; see ProbeConflicts and rates.
//
// On networks with mode proxy it gives no address and no parameter, and tells
// the firmware of nodes alone what to boot.
//
// Left out: leasequery.
package engine
