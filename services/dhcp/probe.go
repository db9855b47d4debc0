package dhcp

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"helperd/plan"
	"helperd/services/dhcp/engine"
	"helperd/services/dhcp/packet"
)

// probeEvery is the time between two looks for other servers on a link. The
// engine believes in what it heard for twice as long.
const probeEvery = 5 * time.Minute

// probeAlone is that time where mode proxy needs another server and none was heard yet.
const probeAlone = 10 * time.Second

// look probes the links whose turn it is, and those whose networks have
// changed, such as in their mode: what was heard before may not count now.
func (s *Service) look(now time.Time) {
	g := s.generation.Load()
	if g == nil {
		return
	}
	s.mu.Lock()
	_, alone := s.engine.Sites(s.unix())
	s.mu.Unlock()
	for p, subnets := range g.links {
		every := probeEvery
		if slices.ContainsFunc(subnets, func(n *engine.Subnet) bool { return slices.Contains(alone, n.Prefix) }) {
			every = probeAlone
		}
		if len(subnets) > 0 && p.alive.Load() && (now.Sub(p.probed) >= every || p.probedFor != g.policy) {
			p.probed, p.probedFor = now, g.policy
			p.probe(s.xid)
		}
	}
}

// probe broadcasts a DHCPDISCOVER on the link of p, so that another server
// there shows itself: its offers to others are unicast as a rule, and a switch
// keeps them from us. It goes out under the interface's own MAC, for switches
// that compare the two. The kernel does not hand it to this machine's sockets;
// a relay may bring it back, and then xid tells it.
func (p *port) probe(xid uint32) {
	ifi, err := net.InterfaceByIndex(p.index)
	if err != nil || len(ifi.HardwareAddr) != len(plan.MAC{}) {
		return // gone, or not Ethernet
	}
	frame := append(make([]byte, packet.Headers), packet.NewDiscover(plan.MAC(ifi.HardwareAddr), xid)...)
	everybody := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	packet.Frame(frame, netip.AddrPortFrom(netip.IPv4Unspecified(), packet.ClientPort), netip.AddrPortFrom(everybody, packet.ServerPort))
	to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: p.index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	if raw, err := p.frames.SyscallConn(); err == nil {
		// One that is lost is made up for by the next.
		_ = raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), frame, unix.MSG_DONTWAIT, to) })
	}
}
