package dhcp

import (
	"helperd/services/leasing"
)

// totals are what Prometheus is told.
func (s *Service) totals() leasing.Totals {
	n := s.counters()
	t := leasing.Totals{
		Received: pick(n, "discover", "request", "decline", "release", "inform"),
		Sent:     pick(n, "offer", "ack", "nak", "bootp"),
		Refused:  pick(n, "pool_full", "no_network"),
		Dropped:  pick(n, "malformed", "overflow", "unsent", "lost", "limited_client", "limited_link", "limited_relay", "limited_circuit"),
		Probes:   pick(n, "conflict", "unprobed"),
	}
	t.Uses, t.DiskFails = s.uses(), s.disk.Failing() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == nil {
		return t
	}
	c := s.engine.Counts()
	for reason, n := range c.ByReason() {
		t.Refused[reason] = n
	}
	return t
}

// pick gives the counters of these names.
func pick(all map[string]uint64, names ...string) map[string]uint64 {
	out := map[string]uint64{}
	for _, name := range names {
		out[name] = all[name]
	}
	return out
}
