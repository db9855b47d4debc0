package engine

import (
	"maps"
	"net/netip"

	"helperd/plan"
	"helperd/services/dhcp/packet"
)

// A Snapshot is what an Engine knew at one time.
type Snapshot struct {
	policy   *Policy
	broken   bool // pool leases cannot be stored
	bindings []binding
	foreign  map[netip.Prefix]Foreign
}

// Snapshot copies what decisions depend on.
func (e *Engine) Snapshot() *Snapshot {
	s := &Snapshot{policy: e.policy, foreign: maps.Clone(e.foreign), bindings: make([]binding, 0, len(e.table.byAddr))}
	s.broken = e.unwritable
	for _, b := range e.table.byAddr {
		s.bindings = append(s.bindings, *b)
	}
	return s
}

// Policy is what was served.
func (s *Snapshot) Policy() *Policy { return s.policy }

// Engine gives an engine of its own that decides as the one of the snapshot
// would have: to ask what would be.
func (s *Snapshot) Engine() *Engine {
	e := New(nil)
	e.unwritable, e.limits.off = s.broken, true
	e.policy, e.foreign = s.policy, maps.Clone(s.foreign)
	for i := range s.bindings {
		b := s.bindings[i]
		e.table.byAddr[b.ip] = &b
	}
	e.table.adopt(s.policy)
	return e
}

// Pick is the network that a request on link counts in, or nil.
func (p *Policy) Pick(req *packet.Request, link []*Subnet) *Subnet { return p.pick(req, link) }

// Reserved is what the file gives to the machine of req in n, or nil.
func (p *Policy) Reserved(req *packet.Request, n *Subnet) *plan.Reservation {
	if r := p.reservation(req, n); r != nil {
		return r.Reservation
	}
	return nil
}

// Knows reports whether the file gives the machine of req an address in any network.
func (p *Policy) Knows(req *packet.Request) bool { return p.elsewhere(req) != nil }
