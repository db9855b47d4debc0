// Package tftp is the TFTP server: boot loaders, boot files rendered for each
// node, kernels and initramfs, and the user's own files, read-only.
//
// It serves RFC 1350 (octet and netascii), RFC 2347 (option extension), RFC
// 2348 (blksize), RFC 2349 (timeout, tsize) and RFC 7440 (windowsize). Every
// transfer has a connected UDP socket of its own, so that the kernel filters
// strangers and reports a client that is gone; windows leave by one sendmsg
// with UDP_SEGMENT. A request is opened by a goroutine, which may wait for
// disks; from then on its transfer is a state machine that an engine's worker carries.
//
// It leaves out writing (WRQ is refused), mail mode, multicast (RFC 2090), and
// clients whose block number rolls over to 1 in place of 0.
package tftp
