package dhcp

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"helperd/internal/socket"
	"helperd/services"
	"helperd/services/dhcp/engine"
	"helperd/services/dhcp/packet"
)

// Status implements services.Service.
func (s *Service) Status() services.Status {
	g := s.generation.Load()
	if g == nil || !g.enabled {
		return services.Status{State: services.Disabled}
	}
	st := services.Status{State: services.Up, Counters: s.counters(), Notes: *s.pools.Load()}
	for _, problem := range g.missing {
		st.Degrade(problem)
	}
	var listeners []socket.Status
	for p := range g.links {
		listeners = append(listeners, p.sock.Status())
	}
	slices.SortFunc(listeners, func(a, b socket.Status) int { return strings.Compare(a.Device, b.Device) })
	for _, l := range listeners {
		st.Listen(l)
	}
	if why := s.disk.Failing(); why != nil {
		st.Degrade(unstorable(why))
	}
	if text := *s.unbindable.Load(); text != "" {
		st.Degrade(text)
	}
	for p := range g.links {
		if text := p.losses.problem(p.device, time.Now()); text != "" {
			st.Degrade(text)
		}
		if ifi, err := net.InterfaceByIndex(p.index); err == nil && ifi.Flags&net.FlagUp == 0 {
			st.Degrade("interface " + p.device + " is down, so nobody on it is served; see `ip link set " + p.device + " up`")
		}
	}
	foreign, problems := s.trouble()
	for _, text := range problems {
		st.Degrade(text)
	}
	for _, f := range foreign {
		st.Degrade(fmt.Sprintf("another DHCP server, %s%s, answers on network %s: only machines in helper.yaml are served there; stop it, or write mode: proxy if it is to give the addresses",
			f.Server, withMAC(f.MAC), f.Network))
	}
	s.proxyStatus(g, &st)
	return st
}

func (s *Service) trouble() ([]engine.Foreign, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.unix()
	return s.engine.Foreign(now), s.engine.Problems(now)
}

// counters are the totals that people and Prometheus see.
func (s *Service) counters() map[string]uint64 {
	s.mu.Lock()
	var c engine.Counts
	if s.engine != nil {
		c = s.engine.Counts()
	}
	s.mu.Unlock()
	return map[string]uint64{
		"discover": c.Received[packet.Discover], "request": c.Received[packet.Ask], "decline": c.Received[packet.Decline],
		"release": c.Received[packet.Release], "inform": c.Received[packet.Inform],
		"offer": c.Sent[packet.Offer], "ack": c.Sent[packet.Ack], "nak": c.Sent[packet.Nak],
		"limited_client": c.Limited[0], "limited_link": c.Limited[1], "limited_relay": c.Limited[2], "limited_circuit": c.Limited[3],
		"conflict": c.Conflicts, "unprobed": c.Unprobed, "lost": s.lost.Load(),
		"bootp": c.Sent[0], "refused": c.Refused, "pool_full": c.Full, "no_network": c.NoSubnet,
		"malformed": s.malformed.Load(), "overflow": s.overflow.Load(), "unsent": s.unsent.Load(),
		"transactions": s.transactions.Load(), "failed_transactions": s.failures.Load(),
	}
}

// Check implements services.Service. A device's socket cannot be asked from
// this machine itself, so a request goes through the engine, and every reader
// must be at work.
func (s *Service) Check(context.Context) error {
	g := s.generation.Load()
	if g == nil || !g.enabled {
		return nil
	}
	for p := range g.links {
		if p.sock.Status().Bound && !p.alive.Load() {
			return fmt.Errorf("requests on %s are not being read", p.device)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopt()
	return s.engine.Check(s.unix())
}
