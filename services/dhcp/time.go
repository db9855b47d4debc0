package dhcp

import (
	"net/netip"
	"slices"

	"helperd/plan"
)

// timeServed says of each subnet of d whether its time server answers now.
func (s *Service) timeServed(d *plan.DHCP) []bool {
	out := make([]bool, len(d.Subnets))
	for i, n := range d.Subnets {
		out[i] = n.Time.IsValid() && s.host.TimeServed != nil && s.host.TimeServed(n.Time)
	}
	return out
}

// withTime is d with the time servers of those subnets as option 42: machines
// that are sent to a dead one wait for it.
func withTime(d *plan.DHCP, served []bool) *plan.DHCP {
	if !slices.Contains(served, true) {
		return d
	}
	c := *d
	c.Subnets = slices.Clone(d.Subnets)
	for i, answers := range served {
		if answers {
			c.Subnets[i].NTP = []netip.Addr{c.Subnets[i].Time.Addr()}
		}
	}
	return &c
}
