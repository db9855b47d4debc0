package dhcp

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"helperd/internal/mmsg"
	"helperd/plan"
	"helperd/services/dhcp/packet"
)

// ignoreOutgoing is PACKET_IGNORE_OUTGOING of linux/if_packet.h (Linux 4.20):
// what this machine sends itself is not heard.
const ignoreOutgoing = 23

// openEars opens a socket that receives, on one interface, what DHCP servers
// say to clients: IPv4, UDP, from port 67 to 68, a BOOTREPLY. All else is
// dropped in the kernel.
func openEars(ifindex int) (*os.File, error) {
	const (
		drop = 0
		take = 0x40000
		// Offsets of what the kernel knows of a packet: SKF_AD_OFF with
		// SKF_AD_PKTTYPE and SKF_AD_IFINDEX of linux/filter.h.
		kind   = 1<<32 - 0x1000 + 4
		device = 1<<32 - 0x1000 + 8
	)
	program := []unix.SockFilter{
		// The socket of a device is also given what is tagged for its VLANs: another
		// link with servers of its own. It has the index of the VLAN's interface, or
		// is nobody's here (PACKET_OTHERHOST) when there is none.
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: device},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(ifindex), Jf: 14},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: kind},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PACKET_OTHERHOST, Jt: 12},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9}, // protocol
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jf: 10},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6}, // fragment offset
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0x1fff, Jt: 8},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // length of the IP header
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 0},  // source port
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: packet.ServerPort, Jf: 5},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2}, // destination port
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: packet.ClientPort, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 8}, // op
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 2, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: take},
		{Code: unix.BPF_RET | unix.BPF_K, K: drop},
	}
	return openHearing("answers of other DHCP servers", program, unix.ETH_P_IP, ifindex)
}

// openHearing opens a socket that receives what passes program on one interface, of one Ethernet protocol.
func openHearing(what string, program []unix.SockFilter, proto uint16, ifindex int) (*os.File, error) {
	f, err := openRaw(what, unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err == nil {
		bad := raw.Control(func(fd uintptr) { err = hear(int(fd), program, proto, ifindex) })
		err = errors.Join(bad, err)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("listen for %s: %w", what, err)
	}
	return f, nil
}

// hear is openHearing's work on fd. The filter comes first, so that nothing else slips in.
func hear(fd int, program []unix.SockFilter, proto uint16, ifindex int) error {
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, ignoreOutgoing, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(proto), Ifindex: ifindex})
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// listen hears other servers on the port until it is closed or ctx ends.
func (s *Service) listen(ctx context.Context, p *port) error {
	raw, err := p.ears.SyscallConn()
	if err != nil {
		return p.ended(ctx, err)
	}
	stop := s.deadlineAtEnd(ctx, p.ears)
	defer stop()
	b := mmsg.New(16, 2048, 1)
	var m packet.Request
	for {
		n, err := b.Receive(raw)
		if err != nil {
			return p.ended(ctx, err)
		}
		s.host.Fuse.Check()
		for i := range n {
			if payload := udpPayload(b.Message(i)); m.ParseReply(payload) == nil && (m.Your.IsValid() || m.Type == packet.Offer) {
				s.heard(p, &m, plan.MAC(b.LinkPeer(i)))
			}
		}
	}
}

// heard passes another server's answer on to the engine.
func (s *Service) heard(p *port, m *packet.Request, from plan.MAC) {
	a := s.answers.Get().(*answer)
	defer s.answers.Put(a)
	s.mu.Lock()
	links := s.adopt()
	if m.Your.IsValid() {
		s.engine.Heard(links[p], m.Server, from, s.unix(), &a.Answer)
	} else {
		s.engine.HeardProxy(links[p], m.Server, from, s.unix(), &a.Answer)
	}
	s.mu.Unlock()
	for _, e := range a.Events {
		s.host.Events.Emit(e)
	}
}

// udpPayload gives what is behind the IP and UDP headers; the filter has looked at both.
func udpPayload(b []byte) []byte {
	if len(b) < 20 {
		return nil
	}
	start := int(b[0]&0xf)*4 + 8
	if start > len(b) {
		return nil
	}
	return b[start:]
}

// ended gives the error of reading p, or nil when the reader was told to stop.
func (p *port) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || p.closed.Load() {
		return nil
	}
	return err
}
