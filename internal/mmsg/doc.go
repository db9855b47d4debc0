// Package mmsg moves UDP datagrams in batches: one recvmmsg(2) and one
// sendmmsg(2) for up to as many messages as a Batch holds.
//
// The system calls are non-blocking and run inside the runtime's poller
// (syscall.RawConn), so that a waiting reader costs no thread. Nothing is
// allocated after New: addresses stay in the kernel's form until they are asked for.
//
// It leaves out control messages: sockets are bound to one address or to one
// device, which tells as much as IP_PKTINFO and costs less.
package mmsg
