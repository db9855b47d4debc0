package dhcp6

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"helperd/services/dhcp6/engine"
	"helperd/services/dhcp6/explain"
	"helperd/services/leasing"
	"helperd/timeline"
)

// poolsEvery is the time between two looks at how full the pools are.
const poolsEvery = 5 * time.Second

// Release ends the pool lease or the quarantine of an address. It is on disk when
// the call returns without an error.
func (s *Service) Release(ctx context.Context, addr netip.Addr) error {
	stored := make(chan error, 1)
	if err := s.free(addr, stored); err != nil {
		return err
	}
	return leasing.Released(ctx, addr, stored, s.host.Events)
}

// free queues the record that ends what addr is; stored is told what becomes of it.
func (s *Service) free(addr netip.Addr, stored chan<- error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation.Load() == nil {
		return leasing.ErrNoLease
	}
	s.adopt()
	r, ok := s.engine.Free(addr, s.unix())
	if !ok {
		return leasing.ErrNoLease
	}
	a := &answer{Answer: engine.Answer{Records: []engine.Record{r}}, stored: stored}
	if !s.commits.add(a) {
		return errors.New("too many leases wait for the disk; try again when it is quicker")
	}
	return nil
}

// Explain says what the machine of q would get now in each place that it may be in.
func (s *Service) Explain(q *leasing.Question) []leasing.Answer {
	s.mu.Lock()
	if g := s.generation.Load(); g == nil || !g.enabled || s.engine == nil {
		s.mu.Unlock()
		return nil
	}
	links, now, snapshot := s.adopt(), s.unix(), s.engine.Snapshot()
	s.mu.Unlock()
	places := placesOf(links, snapshot.Policy())
	if q.Relay.IsValid() {
		places = []explain.Place{explain.Relayed(q.Relay)}
	}
	return explain.Warn(snapshot, q, explain.Ask(func() *engine.Engine { return snapshot.Engine(now) }, places, q, now))
}

// placesOf are the interfaces that have networks, and the networks that only relays reach.
func placesOf(links map[*port][]*engine.Subnet, p *engine.Policy) (out []explain.Place) {
	direct := map[*engine.Subnet]bool{}
	for port, link := range links {
		for _, n := range link {
			direct[n] = true
		}
		if len(link) > 0 {
			out = append(out, explain.Place{Via: "on " + port.device, Link: link})
		}
	}
	slices.SortFunc(out, func(a, b explain.Place) int { return a.Link[0].Prefix.Addr().Compare(b.Link[0].Prefix.Addr()) })
	for _, n := range p.Subnets() {
		if !direct[n] {
			out = append(out, explain.Behind(n))
		}
	}
	return out
}

// watchPools tells when a pool fills.
func (s *Service) watchPools() {
	all := s.uses()
	for _, text := range s.alarm.Look(all) {
		s.host.Events.Emit(timeline.Event{Kind: timeline.DHCPPool, Detail: text})
		s.host.Log.Warn("pool fills", "state", text)
	}
	notes := leasing.Notes(all)
	s.pools.Store(&notes)
}

// uses says how full the networks are.
func (s *Service) uses() []leasing.Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation.Load() == nil {
		return nil
	}
	s.adopt()
	return s.engine.Uses(s.unix())
}
