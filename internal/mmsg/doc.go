// Package mmsg moves UDP datagrams in batches: one recvmmsg(2) and one
// sendmmsg(2) for up to as many messages as a Batch holds.
//
// The system calls are non-blocking and run inside the runtime's poller
// (syscall.RawConn), so that a waiting reader costs no thread. Nothing is
// allocated after New: addresses stay in the kernel's form until they are asked for.
//
// Control messages cost something and are for those who want them: when a
// message came in, and which of our addresses it was sent to. Most sockets are bound to
// one address or to one device, which tells as much as IP_PKTINFO.
package mmsg
