package table

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"helperd/plan"
	"helperd/services/lb/balance"
)

// A Member is a server with its settings in one table.
type Member struct {
	*Server
	Config plan.Server
}

// A Group is the settings of a backend in one table. It is immutable.
type Group struct {
	*Backend
	Config  plan.Backend
	Members []Member
}

// Checked reports whether the server of m is probed.
func (g *Group) Checked(m *Member) bool {
	return g.Config.Check.Type != plan.CheckNone && g.Config.Check.Type != "" && !m.Config.NoCheck
}

// AnyUp reports whether a server of the group takes connections by its own right.
func (g *Group) AnyUp() bool {
	return slices.ContainsFunc(g.Members, func(m Member) bool { return m.Takes() })
}

// FallsBack reports whether m takes connections although it is not ready: it answers on
// the fallback path, no person wants otherwise, and no server is up.
func (g *Group) FallsBack(m *Member) bool {
	st, _ := m.State()
	return st == Unready && m.Fallback() && m.wanted() && !g.AnyUp()
}

// Ramping reports whether a server of the group may be in its slow start.
func (g *Group) Ramping() bool {
	return slices.ContainsFunc(g.Members, func(m Member) bool { return m.ramp.Load() != 0 })
}

// A Backend is the state of a backend: it outlives tables, so that a connection
// that looks for another server finds the servers of today.
type Backend struct {
	Name string
	Traffic
	Failures
	NoneUp   atomic.Uint64 // connections closed because no server took them
	Queued   atomic.Int64  // connections that wait for a server with room
	MaxQueue atomic.Int64  // most at a time

	queue  queue
	turn   atomic.Uint64
	group  atomic.Pointer[Group]
	choice atomic.Pointer[choice]
	mu     sync.Mutex // held while choice is worked out
}

// Group gives the settings in force, or nil before the first Install.
func (b *Backend) Group() *Group { return b.group.Load() }

// NewOrphan gives a backend that is in no table, for connections that were made when it was in one.
func NewOrphan(name string) *Backend {
	b := &Backend{Name: name}
	b.group.Store(&Group{Backend: b, Config: plan.Backend{Name: name}})
	return b
}

// choice is the set of servers that take connections now.
type choice struct {
	members []Member
	set     *balance.Set
	ramping bool
	unknown bool // there is none, and some that were not checked yet
}

// Open and Load make choice a balance.Pool.
func (c *choice) Open(i int) bool {
	limit := c.members[i].Limit()
	return limit == 0 || c.members[i].Active.Load() < limit
}

func (c *choice) Load(i int) int64 { return c.members[i].Active.Load() }

// untried is a choice without the servers that were tried.
type untried struct {
	*choice
	tried []*Server
}

func (u *untried) Open(i int) bool {
	return !slices.Contains(u.tried, u.members[i].Server) && u.choice.Open(i)
}

// left reports whether a server is left that was not tried, or not checked yet.
func (c *choice) left(tried []*Server) bool {
	return c.unknown || slices.ContainsFunc(c.members, func(m Member) bool { return !slices.Contains(tried, m.Server) })
}

// Pick chooses a server for a connection of client that is not among those tried,
// and takes a place there, which Leave gives back. A nil server with full true means
// that there is no place, that others wait for one already, or that no server was checked yet; with full
// false, that no other server is left.
func (b *Backend) Pick(client netip.Addr, tried []*Server) (s *Server, full bool) {
	c := b.choice.Load()
	if c == nil {
		return nil, false
	}
	if b.Queued.Load() > 0 {
		return nil, c.left(tried)
	}
	return b.take(c, client, tried)
}

// Update works out anew which servers take connections, after a state changed
// or a slow start went on. It reports whether a slow start goes on.
func (b *Backend) Update(now time.Time) (ramping bool) {
	defer b.Serve() // a server that comes, or gets a higher limit, has room
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.group.Load()
	if g == nil {
		return false
	}
	c := choose(g, now)
	old := b.choice.Swap(c)
	b.account(g, old, c, now)
	if old != nil && old.unknown && len(c.members) == 0 && !c.unknown {
		b.dismiss()
	}
	return c.ramping
}

// account counts the times that no server takes connections, and how long. Until
// the first check of a server nobody knows. The caller holds mu.
func (b *Backend) account(g *Group, old, c *choice, now time.Time) {
	switch {
	case len(c.members) > 0:
		b.upAgain(now)
	case old != nil && len(old.members) > 0:
		b.Falls.Add(1)
		b.down(now)
	case !slices.ContainsFunc(g.Members, func(m Member) bool { st, _ := m.State(); return st == Starting && m.Admin() == Ready }):
		b.down(now)
	}
}

// choose takes the servers that are up; the backup servers when there are none;
// and when there are none either, those that answer on the fallback path.
func choose(g *Group, now time.Time) *choice {
	c := &choice{}
	take := func(use func(*Member) bool) {
		for i := range g.Members {
			if m := &g.Members[i]; use(m) {
				c.members = append(c.members, *m)
			}
		}
	}
	take(func(m *Member) bool { return !m.Config.Backup && m.Takes() })
	if c.members == nil {
		take(func(m *Member) bool { return m.Config.Backup && m.Takes() })
	}
	if c.members == nil {
		take(g.FallsBack)
	}
	if c.members == nil {
		c.unknown = slices.ContainsFunc(g.Members, func(m Member) bool { st, _ := m.State(); return st == Starting && m.Admin() == Ready })
	}
	names, weights := make([]string, len(c.members)), make([]int, len(c.members))
	for i, m := range c.members {
		names[i] = m.Name
		age, slow := time.Duration(0), time.Duration(0)
		if from := m.ramp.Load(); from != 0 {
			age, slow = now.Sub(time.Unix(0, from)), g.Config.SlowStart
			if age >= slow {
				m.ramp.CompareAndSwap(from, 0)
			}
		}
		weights[i] = balance.Ramp(m.Weight(), age, slow)
		c.ramping = c.ramping || age < slow
	}
	c.set = balance.New(g.Config.Balance, names, weights)
	return c
}

// BeginSlowStart begins the slow start of a server that has just become
// ready, when the backend has one and another server carries the load meanwhile.
func (g *Group) BeginSlowStart(s *Server, now time.Time) {
	if g.Config.SlowStart <= 0 {
		return
	}
	other := slices.ContainsFunc(g.Members, func(m Member) bool {
		return m.Server != s && !m.Config.Backup && m.Takes()
	})
	if other {
		s.SlowStart(now)
	} else {
		s.SlowStart(time.Time{})
	}
}
