package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services/dns/chain"
	"helperd/services/dns/wire"
	"helperd/services/dns/zone"
	"helperd/timeline"
)

// state is all that a plan makes the server say. It is immutable, but for the marks of nodes that were seen.
type state struct {
	plan    plan.DNS
	table   *zone.Table
	chain   *chain.Chain // nil: no forwarders
	sockets []*socket.Socket

	// arrivals are the nodes by address; unseen is how many of them have not
	// asked yet. It may be too high when a node was seen under the state
	// before, which costs a lookup a query and nothing else.
	arrivals map[netip.Addr]*arrival
	unseen   atomic.Int64
}

// arrival is a node whose first question is an event.
type arrival struct {
	node string // FQDN
	seen atomic.Bool
}

func newState() *state { return &state{table: &zone.Table{}} }

// compile builds the state of p, without its sockets and its chain.
func (s *Service) compile(p *plan.Plan) (*state, error) {
	st := newState()
	if !p.DNS.Enabled {
		return st, nil
	}
	st.plan = p.DNS
	d := &st.plan
	for _, f := range d.Forwarders {
		if slices.Contains(d.Listen, f) {
			return nil, fmt.Errorf("dns: forwarder %s is this name server itself: name another one in dns.forwarders", f)
		}
	}
	// With forwarders they are asked for unknown addresses of the networks too.
	reverse := d.Reverse
	if len(d.Forwarders) > 0 {
		reverse = nil
	}
	var err error
	if st.table, err = zone.Compile(d.Zones, d.Names, reverse); err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	st.expect(p.Nodes, s.state.Load())
	return st, nil
}

// expect fills the arrivals. Nodes that old has seen stay seen.
func (st *state) expect(nodes []*plan.Node, old *state) {
	known := map[string]*arrival{}
	for _, a := range old.arrivals {
		known[a.node] = a
	}
	st.arrivals = map[netip.Addr]*arrival{}
	for _, n := range nodes {
		a := known[n.FQDN]
		if a == nil {
			a = &arrival{node: n.FQDN}
		}
		if !a.seen.Load() {
			st.unseen.Add(1)
		}
		for _, addr := range []netip.Addr{n.IP, n.IP6} {
			if addr.IsValid() {
				st.arrivals[addr] = a
			}
		}
	}
}

// client says what the one at addr may do.
func (st *state) client(addr netip.Addr, stream bool) wire.Client {
	return wire.Client{Recurse: st.chain != nil && st.allowed(addr), Stream: stream}
}

func (st *state) allowed(addr netip.Addr) bool {
	if addr.IsLoopback() || slices.ContainsFunc(st.plan.Listen, func(l netip.AddrPort) bool { return l.Addr() == addr }) {
		return true // this machine itself
	}
	for _, p := range st.plan.Allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// arrived emits an event for the first question of a node.
func (s *Service) arrived(st *state, addr netip.Addr, q *wire.Query) {
	if st.unseen.Load() <= 0 || !q.Parsed() {
		return
	}
	a := st.arrivals[addr]
	if a == nil || a.seen.Load() || !a.seen.CompareAndSwap(false, true) {
		return
	}
	st.unseen.Add(-1)
	s.host.Events.Emit(timeline.Event{Kind: timeline.DNSFirst, Node: a.node, Addr: addr, Detail: q.String()})
}
