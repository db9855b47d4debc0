// Package engine sends files by TFTP (RFC 1350, 7440): a transfer is a state
// machine on a connected socket of its own, and a few workers carry all of them
// by epoll. None of them waits for a disk: what is not in memory is read by a
// goroutine that takes the transfer over for as long.
//
// A worker that panics goes on with the transfers that it had; only the one that
// it was working on is ended.
package engine
