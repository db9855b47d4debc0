package check

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services/lb/table"
)

// startWithin spreads the first checks.
const startWithin = 100 * time.Millisecond

// A Change is a change of the state of a server.
type Change struct {
	Group  *table.Group
	Server table.Member
	From   table.State
	To     table.State
	Detail string // of the check that made it
}

// prober is Probe, or what a test has instead.
type prober func(ctx context.Context, c plan.Check, path string, server netip.AddrPort, hold func(net.Conn)) table.Result

// A Monitor probes the servers of a table, each from a goroutine of its own.
type Monitor struct {
	guard   *guard.Group
	changed func(Change)
	died    func(*table.Server)
	probe   prober

	mu       sync.Mutex
	checkers map[*table.Server]*checker
}

// NewMonitor gives a monitor that tells changed of every change of state, and
// died of servers whose TCP is dead, retired ones too. Both are told after the
// backend's set of servers is up to date.
func NewMonitor(g *guard.Group, changed func(Change), died func(*table.Server)) *Monitor {
	return &Monitor{guard: g, changed: changed, died: died, probe: Probe, checkers: map[*table.Server]*checker{}}
}

// Apply makes the monitor probe the servers of t that are not in maintenance, and
// no others, until Stop or the end of ctx. Servers that were probed before go on where they were.
// It comes before t is installed, so that no probe undoes the state of a server
// that is not probed any more.
func (m *Monitor) Apply(ctx context.Context, t *table.Table) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := map[*table.Server]bool{}
	for _, g := range t.Groups {
		for i := range g.Members {
			member := &g.Members[i]
			if !g.Checked(member) || member.Admin() == table.Maint || !member.Watched() {
				continue
			}
			keep[member.Server] = true
			set := &settings{g, *member, bootstrapped(t, member)}
			if c := m.checkers[member.Server]; c != nil {
				if old := c.settings.Swap(set); old.group.Config.Check != g.Config.Check {
					c.hurry() // the next probe by the old check may be far away
				}
				continue
			}
			m.begin(ctx, set)
		}
	}
	for s, c := range m.checkers {
		if !keep[s] {
			c.stop()
			delete(m.checkers, s)
		}
	}
}

// Stop ends all probes. Servers keep their state.
func (m *Monitor) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.checkers {
		c.stop()
	}
	clear(m.checkers)
}

func (m *Monitor) begin(ctx context.Context, set *settings) {
	c := &checker{monitor: m, kick: make(chan struct{}, 1)}
	ctx, c.cancel = context.WithCancel(ctx)
	st, _ := set.member.State()
	c.health.state = st
	if st == table.Retired {
		c.health.state = table.Dead
	}
	c.settings.Store(set)
	m.checkers[set.member.Server] = c
	m.guard.Loop(ctx, "lb check "+set.group.Name+"/"+set.member.Name, c.run)
}

// Hurry makes the servers of a group be probed now, but for one, which may be nil.
func (m *Monitor) Hurry(g *table.Group, but *table.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range g.Members {
		if s := g.Members[i].Server; s != but && m.checkers[s] != nil {
			m.checkers[s].hurry()
		}
	}
}

// settings are what a checker goes by, of the table in force.
type settings struct {
	group  *table.Group
	member table.Member
	// cluster are the backends that a bootstrap server is in; nil for all others.
	cluster []*table.Group
}

type checker struct {
	monitor  *Monitor
	cancel   context.CancelFunc
	kick     chan struct{}
	settings atomic.Pointer[settings]
	health   health
	started  bool

	mu      sync.Mutex
	conn    net.Conn // of the probe that runs
	stopped bool     // sets no state any more
}

// hurry makes the next probe come now.
func (c *checker) hurry() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// hold notes the connection of the probe that runs.
func (c *checker) hold(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
}

// stop ends the checker, and its probe at once. What that probe says is forgotten:
// the server may be another one's, or nobody's, to check.
func (c *checker) stop() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// run probes until ctx ends. After a panic it goes on with the state it had.
func (c *checker) run(ctx context.Context) error {
	wait := rand.N(startWithin)
	if c.started {
		wait = c.pause(0)
	}
	c.started = true
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.kick:
			timer.Stop()
		case <-timer.C:
		}
		began := time.Now()
		c.probe(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wait = c.pause(time.Since(began))
	}
}

// pause is the time to the next probe after one that took so long: intervals are
// from start to start, as in HAProxy. It is shorter while a server turns from one
// state to another, as HAProxy's fastinter, and up to a twentieth longer, so that the
// probes of many servers do not come at once. A server that is slow to answer has a rest.
func (c *checker) pause(took time.Duration) time.Duration {
	k := c.settings.Load().group.Config.Check
	d := k.Interval
	if c.health.turning() && k.FastInterval > 0 {
		d = k.FastInterval
	}
	return max(d-took, d/4, time.Millisecond) + rand.N(d/20+1)
}

func (c *checker) probe(ctx context.Context) {
	set := c.settings.Load()
	k, s := set.group.Config.Check, set.member.Server
	result := c.monitor.probe(ctx, k, k.Path, s.Address, c.hold)
	if ctx.Err() != nil {
		return
	}
	s.Checked(&result)
	verdict := verdictOf(result.Outcome)
	if verdict != OK && verdict != Unknown {
		s.ChecksFailed.Add(1)
		set.group.ChecksFailed.Add(1)
	}
	was := c.health.state
	to := c.health.add(verdict, max(k.Fall, 1), max(k.Rise, 1))
	died := to == table.Dead && was != table.Dead
	if retired(set, to, time.Now()) {
		to = table.Retired
	}
	c.enter(set, to, result.Detail)
	if died {
		c.monitor.died(s)
	}
	c.fallBack(ctx, set, verdict)
}

// enter makes the server's new state known.
func (c *checker) enter(set *settings, to table.State, detail string) {
	s, now := set.member.Server, time.Now()
	from, _ := s.State()
	if from == to || !c.set(set, from, to, now) {
		return
	}
	if from == table.Up && set.group.Config.Check.FallbackPath != "" && !set.group.AnyUp() {
		c.monitor.Hurry(set.group, s)
	}
	c.monitor.changed(Change{set.group, set.member, from, to, detail})
}

// set puts the server into a new state, unless the checker was stopped.
func (c *checker) set(set *settings, from, to table.State, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	s := set.member.Server
	if to == table.Up {
		s.SlowStart(time.Time{})
		if from != table.Starting || s.WasUp() { // not at the daemon's start, and again after maintenance
			set.group.BeginSlowStart(s, now)
		}
	}
	s.Set(to, now)
	set.group.Update(now)
	return true
}

// fallBack asks a server that is not ready on the fallback path when no server of its
// group is up, and so finds one that is better than none.
func (c *checker) fallBack(ctx context.Context, set *settings, v Verdict) {
	k, s := set.group.Config.Check, set.member.Server
	ok := false
	if st, _ := s.State(); st == table.Unready && v == Red && k.FallbackPath != "" && !set.group.AnyUp() {
		ok = c.monitor.probe(ctx, k, k.FallbackPath, s.Address, c.hold).OK
	}
	if s.SetFallback(ok) {
		set.group.Update(time.Now())
	}
}
