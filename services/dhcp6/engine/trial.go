package engine

import (
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/plan"
)

// A Snapshot is what an Engine knew at one time.
type Snapshot struct {
	id       dhcpv6.DUID
	policy   *Policy
	broken   bool // pool leases cannot be stored
	bindings []binding
	limited  map[netip.Addr]bool
}

// Snapshot copies what decisions depend on.
func (e *Engine) Snapshot() *Snapshot {
	s := &Snapshot{id: e.id, policy: e.policy, bindings: make([]binding, 0, len(e.table.byAddr)), limited: map[netip.Addr]bool{}}
	s.broken = e.unwritable
	for _, b := range e.table.byAddr {
		s.bindings = append(s.bindings, *b)
	}
	for who, b := range e.limits.sources {
		if b.left <= 0 {
			s.limited[who.client] = true
		}
	}
	return s
}

// Limited reports whether the client at a link-local address has sent so much that it was not answered the last time.
func (s *Snapshot) Limited(client netip.Addr) bool { return s.limited[client] }

// Policy is what was served.
func (s *Snapshot) Policy() *Policy { return s.policy }

// Engine gives an engine of its own that decides as the one of the snapshot
// would have at Unix time now: to ask what would be.
func (s *Snapshot) Engine(now int64) *Engine {
	e := New(s.id, nil)
	e.unwritable = s.broken
	e.policy = s.policy
	for i := range s.bindings {
		b := s.bindings[i]
		e.table.byAddr[b.addr] = &b
	}
	e.table.adopt(s.policy, now)
	return e
}

// Reserved is what the file gives to mac in n, or nil.
func (p *Policy) Reserved(mac plan.MAC, n *Subnet) *plan.Reservation {
	if r := p.reservation(mac, n); r != nil {
		return r.Reservation
	}
	return nil
}

// Knows reports whether the file gives mac an address in any network.
func (p *Policy) Knows(mac plan.MAC) bool { return len(p.byMAC[mac]) > 0 }

// At is the served network with exactly this prefix, or nil.
func (p *Policy) At(prefix netip.Prefix) *Subnet {
	i := slices.IndexFunc(p.subnets, func(n *Subnet) bool { return n.Prefix == prefix })
	if i < 0 {
		return nil
	}
	return p.subnets[i]
}
