package mmsg

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// QueueLink makes the first n bytes of Reply an IPv4 packet to mac on the
// interface with that index. The socket is of AF_PACKET and SOCK_DGRAM.
func (b *Batch) QueueLink(ifindex int, mac [6]byte, n int) {
	ll := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&b.outName[b.queued]))
	*ll = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Ifindex: int32(ifindex), Halen: 6}
	proto := (*[2]byte)(unsafe.Pointer(&ll.Protocol)) // in network order
	proto[0], proto[1] = unix.ETH_P_IP>>8, unix.ETH_P_IP&0xff
	copy(ll.Addr[:], mac[:])
	b.out[b.queued].msg.SetControllen(0)
	b.queue(n, unix.SizeofSockaddrLinklayer)
}

// LinkPeer is the Ethernet address of the sender of message i, which came in on a socket of AF_PACKET.
func (b *Batch) LinkPeer(i int) [6]byte {
	ll := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&b.inName[i]))
	return [6]byte(ll.Addr[:6])
}
