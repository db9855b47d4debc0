package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"helperd/internal/mmsg"
	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
	"helperd/services/dhcp/packet"
)

// proxyBatch is the number of boot file requests that are read at once: each
// comes from firmware that has an address and asks again.
const proxyBatch = 16

// bindProxy takes the socket of port 4011 on each address that firmware is sent to.
func (s *Service) bindProxy(g *generation) error {
	for _, n := range g.policy.Subnets() {
		key := socket.Key{Network: "udp", Addr: netip.AddrPortFrom(n.Server, packet.ProxyPort)}
		taken := slices.ContainsFunc(g.proxies, func(have *socket.Socket) bool { return have.Key == key })
		if n.Mode != plan.ModeProxy || taken {
			continue
		}
		sock, err := s.host.Sockets.Acquire(key, socket.Options{Buffer: receiveBuffer})
		if err != nil {
			return err
		}
		g.proxies = append(g.proxies, sock)
	}
	return nil
}

// readProxy answers what firmware asks on port 4011 until ctx ends or sock is given up.
func (s *Service) readProxy(ctx context.Context, sock *socket.Socket) error {
	conn, stop, err := sock.Packets(ctx, s.host.Guard)
	if conn == nil {
		return err
	}
	defer stop()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	b := mmsg.New(proxyBatch, largestRequest, packet.Buffer)
	var req packet.Request
	for {
		n, err := b.Receive(raw)
		if err == nil {
			s.host.Fuse.Check()
			for i := range n {
				s.answerBoot(b, &req, i)
			}
			var failed int
			failed, err = b.Send(raw)
			s.unsent.Add(uint64(failed))
		}
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", sock.Key, err)
		}
	}
}

// answerBoot decides message i of b and queues its answer.
func (s *Service) answerBoot(b *mmsg.Batch, req *packet.Request, i int) {
	if b.Truncated(i) || req.Parse(b.Message(i)) != nil {
		s.malformed.Add(1)
		return
	}
	a := s.answers.Get().(*answer)
	defer s.answers.Put(a)
	peer := b.Peer(i)
	s.mu.Lock()
	s.adopt()
	s.engine.HandleProxy(req, netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), s.unix(), &a.Answer)
	s.mu.Unlock()
	for _, e := range a.Events {
		s.host.Events.Emit(e)
	}
	if len(a.Frame) > 0 {
		b.Queue(i, copy(b.Reply(), a.Frame[packet.Headers:]))
	}
}

// proxyStatus tells who gives the addresses where this one is a proxy, where
// nobody does, and where another proxy is.
func (s *Service) proxyStatus(g *generation, st *services.Status) {
	for _, sock := range g.proxies {
		st.Listen(sock.Status())
	}
	s.mu.Lock()
	now := s.unix()
	servers, none := s.engine.Sites(now)
	rivals := s.engine.Rivals(now)
	s.mu.Unlock()
	for _, f := range rivals {
		st.Degrade(fmt.Sprintf("another server, %s%s, tells machines on network %s what to boot (proxy DHCP), and nodes may boot that instead; stop it", f.Server, withMAC(f.MAC), f.Network))
	}
	for _, f := range servers {
		st.Notes = append(st.Notes, fmt.Sprintf("DHCP server %s%s gives the addresses of network %s; helperd has mode proxy there", f.Server, withMAC(f.MAC), f.Network))
	}
	for _, prefix := range none {
		// Behind a relay nobody can be heard.
		if device := g.deviceOf(prefix); device != "" {
			st.Degrade(fmt.Sprintf("mode proxy on network %s, and no DHCP server answered on %s: machines get no address. Start the network's DHCP server, or write mode: server. "+
				"One that answers known machines alone is seen when one of them asks it", prefix, device))
		}
	}
}

// deviceOf is the interface that serves a network; empty: none, it is reached by relays.
func (g *generation) deviceOf(prefix netip.Prefix) string {
	for p, subnets := range g.links {
		for _, n := range subnets {
			if n.Prefix == prefix {
				return p.device
			}
		}
	}
	return ""
}

// withMAC is what is said of a server beside its address.
func withMAC(m plan.MAC) string {
	if m.IsZero() {
		return ""
	}
	return " (MAC " + m.String() + ")"
}
