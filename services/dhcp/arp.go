package dhcp

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"helperd/internal/mmsg"
	"helperd/plan"
)

const (
	arpSize    = 28 // bytes of an ARP packet for IPv4 on Ethernet (RFC 826)
	arpRequest = 1
	arpReply   = 2
)

// openARP opens a socket that receives the ARP replies on one interface that are for this machine or for all.
func openARP(ifindex int) (*os.File, error) {
	const (
		kind   = 1<<32 - 0x1000 + 4 // see openEars
		device = 1<<32 - 0x1000 + 8
	)
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: device},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(ifindex), Jf: 7},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: kind},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: unix.PACKET_BROADCAST, Jt: 5},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 2}, // protocol
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IP, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6}, // operation
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: arpReply, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x40000},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return openHearing("answers to conflict probes", program, unix.ETH_P_ARP, ifindex)
}

// probeAddrs broadcasts an ARP probe for each flight (RFC 5227 section 2.1.1:
// the sender's address is 0.0.0.0, so that nobody learns anything from it) and says how many have left.
func (p *port) probeAddrs(list []*flight) (sent int) {
	ifi, err := net.InterfaceByIndex(p.index)
	if err != nil || len(ifi.HardwareAddr) != len(plan.MAC{}) {
		return 0 // gone, or not Ethernet
	}
	raw, err := p.arp.SyscallConn()
	if err != nil {
		return 0
	}
	to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ARP), Ifindex: p.index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	for _, f := range list {
		b := arpProbe(plan.MAC(ifi.HardwareAddr), f.outcome.Addr)
		bad := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), b[:], unix.MSG_DONTWAIT, to) })
		if bad != nil || err != nil {
			return sent
		}
		sent++
	}
	return sent
}

// arpProbe gives a probe for addr.
func arpProbe(from plan.MAC, addr netip.Addr) (b [arpSize]byte) {
	binary.BigEndian.PutUint16(b[0:], 1) // Ethernet
	binary.BigEndian.PutUint16(b[2:], unix.ETH_P_IP)
	b[4], b[5] = 6, 4
	binary.BigEndian.PutUint16(b[6:], arpRequest)
	copy(b[8:], from[:])
	target := addr.As4()
	copy(b[24:], target[:])
	return b
}

// parseARP reads who has which address from a reply.
func parseARP(b []byte) (mac plan.MAC, addr netip.Addr, ok bool) {
	if len(b) < arpSize || b[4] != 6 || b[5] != 4 || binary.BigEndian.Uint16(b[6:]) != arpReply {
		return mac, addr, false
	}
	mac, addr = plan.MAC(b[8:14]), netip.AddrFrom4([4]byte(b[14:18]))
	return mac, addr, !mac.IsZero()
}

// hearARP hears the answers to conflict probes on the port until it is closed or ctx ends.
func (s *Service) hearARP(ctx context.Context, p *port) error {
	raw, err := p.arp.SyscallConn()
	if err != nil {
		return p.ended(ctx, err)
	}
	stop := s.deadlineAtEnd(ctx, p.arp)
	defer stop()
	b := mmsg.New(16, 64, 1)
	for {
		n, err := b.Receive(raw)
		if err != nil {
			return p.ended(ctx, err)
		}
		s.host.Fuse.Check()
		s.mu.Lock()
		for i := range n {
			mac, addr, ok := parseARP(b.Message(i))
			if f := s.probes.to(addr); ok && f != nil && f.port == p && f.outcome.MAC.IsZero() {
				f.outcome.MAC = mac
				s.probes.wake()
			}
		}
		s.mu.Unlock()
	}
}
