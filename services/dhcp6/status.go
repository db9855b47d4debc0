package dhcp6

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/internal/socket"
	"helperd/services"
	"helperd/services/dhcp6/engine"
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
	return st
}

// counters are the totals that people and Prometheus see.
func (s *Service) counters() map[string]uint64 {
	s.mu.Lock()
	var c engine.Counts
	if s.engine != nil {
		c = s.engine.Counts()
	}
	s.mu.Unlock()
	out := map[string]uint64{
		"advertise": c.Sent[dhcpv6.MessageTypeAdvertise], "reply": c.Sent[dhcpv6.MessageTypeReply],
		"relayed": c.Relayed, "refused": c.Refused, "pool_full": c.Full, "no_network": c.NoSubnet,
		"malformed": c.Malformed, "limited": c.Limited, "overflow": s.overflow.Load(), "unsent": s.unsent.Load(),
		"transactions": s.transactions.Load(), "failed_transactions": s.failures.Load(),
	}
	for kind, name := range map[dhcpv6.MessageType]string{
		dhcpv6.MessageTypeSolicit: "solicit", dhcpv6.MessageTypeRequest: "request", dhcpv6.MessageTypeConfirm: "confirm",
		dhcpv6.MessageTypeRenew: "renew", dhcpv6.MessageTypeRebind: "rebind", dhcpv6.MessageTypeRelease: "release",
		dhcpv6.MessageTypeDecline: "decline", dhcpv6.MessageTypeInformationRequest: "information_request",
	} {
		out[name] = c.Received[kind]
	}
	return out
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
			return fmt.Errorf("messages on %s are not being read", p.device)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopt()
	return s.engine.Check(s.unix())
}
