package dhcp6

import (
	"strings"

	"helperd/services/leasing"
)

// totals are what Prometheus is told.
func (s *Service) totals() leasing.Totals {
	n := s.counters()
	t := leasing.Totals{
		Received: pick(n, "solicit", "request", "confirm", "renew", "rebind", "release", "decline", "information_request"),
		Sent:     pick(n, "advertise", "reply"),
		Refused:  pick(n, "pool_full", "no_network"),
		Dropped:  pick(n, "malformed", "limited", "overflow", "unsent"),
	}
	t.Uses, t.DiskFails = s.uses(), s.disk.Failing() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == nil {
		return t
	}
	c := s.engine.Counts()
	for reason, n := range c.ByReason() {
		t.Refused[strings.TrimSuffix(reason, " over IPv6")] = n
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
