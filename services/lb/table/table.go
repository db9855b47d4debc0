package table

import (
	"fmt"
	"iter"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"helperd/plan"
)

// Ports whose clients and servers tell something about a node.
const (
	PortAPI           = 6443
	PortMachineConfig = 22623
)

// A Frontend is an address that is listened on, in one table. It is immutable.
type Frontend struct {
	Config   plan.Frontend
	Backend  *Backend // by default; nil when routes alone decide
	Counters *Counters
	// API and MachineConfig say that it listens on the port of one of them.
	API, MachineConfig bool

	routes  *routes  // nil: all goes to Backend
	limiter *limiter // nil: no rate
}

// Allows reports whether a client may connect.
func (f *Frontend) Allows(client netip.Addr) bool {
	return f.Config.Allow == nil || within(f.Config.Allow, client)
}

// FromProxy reports whether the connections of a peer begin with the PROXY protocol.
func (f *Frontend) FromProxy(peer netip.Addr) bool {
	return f.Config.AcceptProxy != nil && within(f.Config.AcceptProxy, peer)
}

func within(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap()
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// A Table is one generation of the balancer. It is immutable.
type Table struct {
	MaxConnections int64
	Retries        int
	Frontends      []*Frontend
	Groups         []*Group

	listen map[netip.AddrPort]*Frontend
	nodes  map[netip.Addr]*Sighting
}

// lastPart is the part of all connections that no frontend without a limit of its own takes
// while there are others: a flood at one must not starve them.
const lastPart = 16

// Limit is how many connections f may have; 0: no limit.
func (t *Table) Limit(f *Frontend) int64 {
	own := f.Counters.limit.Load()
	if own == 0 {
		own = int64(f.Config.MaxConnections)
	}
	switch {
	case own > 0:
		return own
	case len(t.Frontends) > 1 && t.MaxConnections < math.MaxInt64:
		return t.MaxConnections - t.MaxConnections/lastPart
	}
	return 0
}

// Full reports whether f has as many connections as it may have.
func (t *Table) Full(f *Frontend) bool {
	limit := t.Limit(f)
	return limit > 0 && f.Counters.places.Load() >= limit
}

// At gives the frontend that listens on a, or nil.
func (t *Table) At(a netip.AddrPort) *Frontend { return t.listen[a] }

// Find gives a server and its backend; nils when there is none of these names.
func (t *Table) Find(backend, server string) (*Group, *Member) {
	for _, g := range t.Groups {
		if g.Name != backend {
			continue
		}
		for i := range g.Members {
			if g.Members[i].Name == server {
				return g, &g.Members[i]
			}
		}
	}
	return nil, nil
}

// Node gives what is known of the node with this address, or nil.
func (t *Table) Node(a netip.Addr) *Sighting { return t.nodes[a] }

// NodeAt gives the node with this address, or nil.
func (t *Table) NodeAt(a netip.Addr) *plan.Node {
	if s := t.nodes[a]; s != nil {
		return s.Node
	}
	return nil
}

// Members gives all servers, backend by backend.
func (t *Table) Members() iter.Seq[*Member] {
	return func(yield func(*Member) bool) {
		for _, g := range t.Groups {
			for i := range g.Members {
				if !yield(&g.Members[i]) {
					return
				}
			}
		}
	}
}

// NodeNamed gives the node with this FQDN, or nil.
func (t *Table) NodeNamed(fqdn string) *plan.Node {
	for _, s := range t.nodes {
		if s.Node.FQDN == fqdn {
			return s.Node
		}
	}
	return nil
}

// A Sighting notes when a node was last seen at the frontends of the cluster.
type Sighting struct {
	Node  *plan.Node
	times *sightTimes
}

type sightTimes struct{ first, seen atomic.Int64 } // Unix nanoseconds

// FirstAfter notes a connection and reports whether it is the first one after silence.
func (s *Sighting) FirstAfter(now time.Time, silence time.Duration) bool {
	last := s.times.first.Swap(now.UnixNano())
	return last == 0 || now.UnixNano()-last > int64(silence)
}

// Due reports, at most once a second, that evidence of the node may be passed on.
func (s *Sighting) Due(now time.Time) bool {
	last := s.times.seen.Load()
	return now.UnixNano()-last > int64(time.Second) && s.times.seen.CompareAndSwap(last, now.UnixNano())
}

// Build makes the table of p. It takes over the state of what prev, which may
// be nil, has too, and changes nothing until Install.
func Build(prev *Table, p *plan.Plan) (*Table, error) {
	if prev == nil {
		prev = &Table{}
	}
	t := &Table{
		MaxConnections: int64(p.LB.MaxConnections), Retries: p.LB.Retries,
		listen: map[netip.AddrPort]*Frontend{}, nodes: map[netip.Addr]*Sighting{},
	}
	if t.MaxConnections == 0 {
		t.MaxConnections = math.MaxInt64
	}
	if !p.LB.Enabled {
		return t, nil
	}
	backends := t.addGroups(prev, p)
	if err := t.addFrontends(prev, p, backends); err != nil {
		return nil, err
	}
	t.addNodes(prev, p)
	return t, nil
}

type serverKey struct {
	backend, name string
	address       netip.AddrPort
}

func (t *Table) addGroups(prev *Table, p *plan.Plan) map[string]*Backend {
	backends, servers := map[string]*Backend{}, map[serverKey]*Server{}
	for _, g := range prev.Groups {
		backends[g.Name] = g.Backend
		for _, m := range g.Members {
			servers[serverKey{g.Name, m.Name, m.Address}] = m.Server
		}
	}
	now := map[string]*Backend{}
	for _, b := range p.LB.Backends {
		g := &Group{Backend: backends[b.Name], Config: b}
		if g.Backend == nil {
			g.Backend = &Backend{Name: b.Name}
		}
		for _, c := range b.Servers {
			address := netip.AddrPortFrom(c.Address.Addr().Unmap(), c.Address.Port())
			s := servers[serverKey{b.Name, c.Name, address}]
			if s == nil {
				s = &Server{Backend: b.Name, Name: c.Name, Address: address}
			}
			g.Members = append(g.Members, Member{s, c})
		}
		t.Groups = append(t.Groups, g)
		now[b.Name] = g.Backend
	}
	return now
}

func (t *Table) addFrontends(prev *Table, p *plan.Plan, backends map[string]*Backend) error {
	before := map[string]*Frontend{}
	for _, f := range prev.Frontends {
		before[f.Config.Name] = f
	}
	for _, c := range p.LB.Frontends {
		f := &Frontend{Config: c, Backend: backends[c.Backend], Counters: &Counters{}}
		if f.Backend == nil && (c.Backend != "" || len(c.Routes) == 0) {
			return fmt.Errorf("frontend %s: there is no backend %q", c.Name, c.Backend)
		}
		if len(c.Routes) > 0 {
			var err error
			if f.routes, err = newRoutes(c.Routes, backends); err != nil {
				return fmt.Errorf("frontend %s: %w", c.Name, err)
			}
		}
		old := before[c.Name]
		if old != nil {
			f.Counters = old.Counters
		}
		if old != nil && old.Config.Rate == c.Rate {
			f.limiter = old.limiter
		} else {
			f.limiter = newLimiter(c.Rate)
		}
		for _, a := range c.Listen {
			if other := t.listen[a]; other != nil {
				return fmt.Errorf("frontends %s and %s both listen on %s", other.Config.Name, c.Name, a)
			}
			t.listen[a] = f
			f.API = f.API || a.Port() == PortAPI
			f.MachineConfig = f.MachineConfig || a.Port() == PortMachineConfig
		}
		t.Frontends = append(t.Frontends, f)
	}
	return nil
}

func (t *Table) addNodes(prev *Table, p *plan.Plan) {
	for _, n := range p.Nodes {
		for _, a := range []netip.Addr{n.IP, n.IP6} {
			if !a.IsValid() {
				continue
			}
			s := &Sighting{Node: n, times: &sightTimes{}}
			if old := prev.nodes[a]; old != nil && old.Node.FQDN == n.FQDN {
				s.times = old.times
			}
			t.nodes[a] = s
		}
	}
}

// Install makes the table's backends use its servers. It cannot fail.
func (t *Table) Install(now time.Time) {
	for _, g := range t.Groups {
		for i := range g.Members {
			m := &g.Members[i]
			if st, _ := m.State(); !g.Checked(m) && st != Up {
				m.Set(Up, now)
			}
			m.since.CompareAndSwap(0, now.UnixNano()) // a new server starts now, unless it is checked already
		}
		g.group.Store(g)
		g.Update(now)
	}
}
