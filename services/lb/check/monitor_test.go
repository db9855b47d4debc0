package check

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services/lb/table"
)

// world answers probes by server name and path.
type world struct {
	mu    sync.Mutex
	says  map[string]Verdict // by name, or name and path
	hang  map[string]bool    // answers nothing until the timeout
	names map[netip.AddrPort]string
	died  []string
	// changes are BACKEND/NAME STATE.
	changes []string
	probes  int
	apply   func(*table.Table)
}

func (w *world) deaths() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.died)
}

func (w *world) set(name string, v Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.says[name] = v
}

func (w *world) probe(ctx context.Context, c plan.Check, path string, server netip.AddrPort, _ func(net.Conn)) table.Result {
	w.mu.Lock()
	w.probes++
	name := w.names[server]
	v, ok := w.says[name+path]
	if !ok {
		v = w.says[name]
	}
	hangs := w.hang[name]
	w.mu.Unlock()
	if hangs {
		select {
		case <-time.After(c.Timeout):
		case <-ctx.Done():
		}
		v = Red
	}
	outcome := [...]table.Outcome{OK: table.Answered, Red: table.WrongStatus, Refused: table.ConnectFailed, Unknown: table.Unmade}[v]
	return table.Result{At: time.Now(), OK: v == OK, Outcome: outcome, Detail: "said"}
}

var documented = plan.Check{
	Type: plan.CheckHTTPS, Path: "/readyz", Interval: 5 * time.Second, FastInterval: 2 * time.Second,
	Timeout: 4 * time.Second, Fall: 2, Rise: 3,
}

// run applies a backend of servers to a monitor inside a bubble.
func run(t *testing.T, b plan.Backend, test func(w *world, g *table.Group)) {
	t.Helper()
	runAll(t, []plan.Backend{b}, func(w *world, tab *table.Table) { test(w, tab.Groups[0]) })
}

// runAll applies backends, whose servers are told apart in the world by BACKEND/NAME
// when there are several.
func runAll(t *testing.T, backends []plan.Backend, test func(w *world, tab *table.Table)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{says: map[string]Verdict{}, hang: map[string]bool{}, names: map[netip.AddrPort]string{}}
		for i, b := range backends {
			for j := range b.Servers {
				s := &b.Servers[j]
				name, port := s.Name, uint16(table.PortAPI)
				if len(backends) > 1 {
					name = b.Name + "/" + name
				}
				if i > 0 {
					port = table.PortMachineConfig
				}
				s.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(j)}), port)
				s.Weight = 1
				w.names[s.Address] = name
				w.says[name] = OK
			}
		}
		tab, err := table.Build(nil, &plan.Plan{LB: plan.LB{Enabled: true, Backends: backends}})
		if err != nil {
			t.Fatal(err)
		}
		tab.Install(time.Now())
		gr := guard.New(nil)
		m := NewMonitor(gr, func(c Change) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changes = append(w.changes, c.Group.Name+"/"+c.Server.Name+" "+c.To.String())
		}, func(s *table.Server) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.died = append(w.died, s.Name)
		})
		m.probe = w.probe
		ctx, cancel := context.WithCancel(t.Context())
		w.apply = func(t *table.Table) { m.Apply(ctx, t) }
		m.Apply(ctx, tab)
		test(w, tab)
		cancel()
		gr.Wait()
	})
}

func stateOf(g *table.Group, name string) table.State {
	for _, m := range g.Members {
		if m.Name == name {
			st, _ := m.State()
			return st
		}
	}
	return -1
}

// within waits until the server has the state and gives how long that took.
func within(t *testing.T, g *table.Group, name string, want table.State) time.Duration {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if stateOf(g, name) == want {
			return time.Since(begin)
		}
		if time.Since(begin) > 5*time.Minute {
			t.Fatalf("%s is not %s but %s", name, want, stateOf(g, name))
		}
	}
}

// TestInvariants are the times that are promised: usable after its first check, no new
// connections 10 s after it answers red, 16 s after it hangs.
func TestInvariants(t *testing.T) {
	b := plan.Backend{Name: "api", Check: documented, Servers: []plan.Server{{Name: "m0"}}}
	run(t, b, func(w *world, g *table.Group) {
		if d := within(t, g, "m0", table.Up); d > 200*time.Millisecond {
			t.Errorf("first check after %s", d)
		}
		time.Sleep(7 * time.Second)
		w.set("m0", Red)
		if d := within(t, g, "m0", table.Unready); d > 10*time.Second {
			t.Errorf("red for %s", d)
		}
		w.set("m0", OK)
		if d := within(t, g, "m0", table.Up); d < 4*time.Second || d > 10*time.Second {
			t.Errorf("three successes took %s", d)
		}
		w.mu.Lock()
		w.hang["m0"] = true
		w.mu.Unlock()
		if d := within(t, g, "m0", table.Unready); d > 16*time.Second {
			t.Errorf("hung for %s", d)
		}
	})
}

func TestBootstrapRetires(t *testing.T) {
	b := plan.Backend{Name: "api", Check: documented, Servers: []plan.Server{{Name: "bootstrap", Backup: true, Bootstrap: true}, {Name: "m0"}, {Name: "m1"}}}
	run(t, b, func(w *world, g *table.Group) {
		within(t, g, "m1", table.Up)
		time.Sleep(5 * time.Minute)
		w.set("bootstrap", Refused)
		within(t, g, "bootstrap", table.Dead)
		time.Sleep(4 * time.Minute)
		if st := stateOf(g, "bootstrap"); st != table.Dead {
			t.Errorf("after 9 minutes bootstrap is %s", st)
		}
		within(t, g, "bootstrap", table.Retired)
		w.set("bootstrap", OK)
		time.Sleep(time.Minute)
		if st := stateOf(g, "bootstrap"); st != table.Retired {
			t.Errorf("with all masters up bootstrap is %s", st)
		}
		w.set("m0", Refused)
		within(t, g, "m0", table.Dead)
		within(t, g, "bootstrap", table.Up)
	})
}

// TestBootstrapRetiresFromBoth: API and machine config server of bootstrap retire
// by the same facts: masters answer on both, and the API of bootstrap is down.
func TestBootstrapRetiresFromBoth(t *testing.T) {
	servers := func() []plan.Server {
		boot := plan.Server{Name: "boot", Node: "boot.example.com", Backup: true, Bootstrap: true}
		return []plan.Server{boot, {Name: "m0", Node: "m0.example.com"}, {Name: "m1", Node: "m1.example.com"}}
	}
	backends := []plan.Backend{{Name: "api", Check: documented, Servers: servers()}, {Name: "mcs", Check: documented, Servers: servers()}}
	runAll(t, backends, func(w *world, tab *table.Table) {
		api, mcs := tab.Groups[0], tab.Groups[1]
		w.set("mcs/m1", Refused)
		time.Sleep(time.Minute)
		w.set("api/boot", Refused)
		time.Sleep(20 * time.Minute)
		if a, m := stateOf(api, "boot"), stateOf(mcs, "boot"); a != table.Dead || m != table.Up {
			t.Errorf("a master gives no machine configs, and bootstrap is %s and %s", a, m)
		}
		w.set("mcs/m1", OK)
		within(t, mcs, "m1", table.Up)
		time.Sleep(9 * time.Minute)
		if a, m := stateOf(api, "boot"), stateOf(mcs, "boot"); a != table.Dead || m != table.Up {
			t.Errorf("after 9 minutes bootstrap is %s and %s", a, m)
		}
		within(t, api, "boot", table.Retired)
		if d := within(t, mcs, "boot", table.Retired); d > 6*time.Second {
			t.Errorf("its 22623 retires %s after its 6443", d)
		}
		w.set("mcs/m0", Refused)
		within(t, mcs, "boot", table.Up)
		if st := stateOf(api, "boot"); st != table.Retired {
			t.Errorf("its 6443 is refused and %s", st)
		}
		if n := len(w.deaths()); n != 3 { // boot on 6443, m1 and m0 on 22623
			t.Errorf("died: %v", w.deaths())
		}
	})
}

// TestBootstrapInUseDoesNotRetire: while its API answers, the masters may be anything.
func TestBootstrapInUseDoesNotRetire(t *testing.T) {
	b := plan.Backend{Name: "api", Check: documented, Servers: []plan.Server{{Name: "boot", Backup: true, Bootstrap: true}, {Name: "m0"}}}
	run(t, b, func(_ *world, g *table.Group) {
		time.Sleep(time.Hour)
		if st := stateOf(g, "boot"); st != table.Up {
			t.Errorf("bootstrap is %s", st)
		}
	})
}

// TestMaintenance: nobody is probed in maintenance, and a checker begins anew after it.
func TestMaintenance(t *testing.T) {
	b := plan.Backend{Name: "api", Check: documented, Servers: []plan.Server{{Name: "m0"}}}
	runAll(t, []plan.Backend{b}, func(w *world, tab *table.Table) {
		m := &tab.Groups[0].Members[0]
		within(t, tab.Groups[0], "m0", table.Up)
		m.SetAdmin(table.Maint)
		w.apply(tab)
		m.Set(table.Starting, time.Now())
		w.set("m0", Red)
		before := w.probes
		time.Sleep(time.Minute)
		if w.probes != before {
			t.Errorf("%d probes in maintenance", w.probes-before)
		}
		if d := m.Downtime(time.Now()); d != time.Minute {
			t.Errorf("down for %s", d)
		}
		m.SetAdmin(table.Ready)
		w.apply(tab)
		if d := within(t, tab.Groups[0], "m0", table.Unready); d > time.Second {
			t.Errorf("checked after %s", d)
		}
	})
}

// TestCounters: failed checks, falls and downtime of servers and backends.
func TestCounters(t *testing.T) {
	b := plan.Backend{Name: "api", Check: documented, Servers: []plan.Server{{Name: "m0"}, {Name: "m1"}}}
	run(t, b, func(w *world, g *table.Group) {
		within(t, g, "m0", table.Up)
		within(t, g, "m1", table.Up)
		w.set("m0", Unknown)
		time.Sleep(time.Minute)
		if n := g.ChecksFailed.Load(); n != 0 {
			t.Errorf("%d checks failed that could not be made", n)
		}
		w.set("m0", Red)
		within(t, g, "m0", table.Unready)
		if g.Falls.Load() != 0 || g.DownSince.Load() != 0 {
			t.Error("the backend is down with one server up")
		}
		w.set("m1", Refused)
		within(t, g, "m1", table.Dead)
		time.Sleep(time.Minute)
		w.set("m0", OK)
		within(t, g, "m0", table.Up)
		m0, m1 := &g.Members[0], &g.Members[1]
		if m0.Falls.Load() != 1 || m1.Falls.Load() != 1 || g.Falls.Load() != 1 {
			t.Errorf("falls: %d, %d, backend %d", m0.Falls.Load(), m1.Falls.Load(), g.Falls.Load())
		}
		now := time.Now()
		if a, b := m0.Downtime(now), g.Downtime(now); b < time.Minute || a <= b || m1.DownSince.Load() == 0 || g.DownSince.Load() != 0 {
			t.Errorf("down for %s and %s, backend %s", a, m1.Downtime(now), b)
		}
		if a, b, c := m0.ChecksFailed.Load(), m1.ChecksFailed.Load(), g.ChecksFailed.Load(); a < 12 || b < 12 || c != a+b {
			t.Errorf("failed checks: %d, %d, backend %d", a, b, c)
		}
	})
}

func TestFallBackKicksOthers(t *testing.T) {
	c := documented
	c.FallbackPath = "/healthz"
	b := plan.Backend{Name: "ingress", Check: c, Servers: []plan.Server{{Name: "w0"}, {Name: "w1"}}}
	run(t, b, func(w *world, g *table.Group) {
		within(t, g, "w0", table.Up)
		within(t, g, "w1", table.Up)
		for _, n := range []string{"w0", "w1"} {
			w.set(n, Red)
			w.set(n+"/healthz", OK)
		}
		within(t, g, "w0", table.Unready)
		within(t, g, "w1", table.Unready)
		time.Sleep(time.Second)
		for i := range g.Members {
			if !g.Members[i].Fallback() {
				t.Errorf("%s is not used", g.Members[i].Name)
			}
		}
		if s, _ := g.Pick(netip.Addr{}, nil); s == nil {
			t.Error("no server on the fallback path")
		}
	})
}

// TestRetiredDies: connections to a bootstrap machine that is switched off are
// closed, also when it retires in the same moment or has retired before.
func TestRetiredDies(t *testing.T) {
	for _, first := range []Verdict{Refused, Red} {
		b := plan.Backend{Name: "api", Check: documented, Servers: []plan.Server{{Name: "bootstrap", Backup: true, Bootstrap: true}, {Name: "m0"}}}
		run(t, b, func(w *world, g *table.Group) {
			time.Sleep(11 * time.Minute)
			w.set("bootstrap", first)
			within(t, g, "bootstrap", table.Retired)
			if n := len(w.deaths()); first == Red && n != 0 {
				t.Errorf("a server that answers died %d times", n)
			}
			w.set("bootstrap", Refused)
			time.Sleep(time.Minute)
			if n := len(w.deaths()); n != 1 {
				t.Errorf("died %d times", n)
			}
		})
	}
}

// TestChangedCheck: a reload that changes a check does not wait for the interval of the old one.
func TestChangedCheck(t *testing.T) {
	slow, fixed := documented, documented
	slow.Interval, slow.Path = time.Hour, "/wrong"
	b := plan.Backend{Name: "git", Check: slow, Servers: []plan.Server{{Name: "g1"}}}
	run(t, b, func(w *world, g *table.Group) {
		w.set("g1/wrong", Red)
		within(t, g, "g1", table.Unready)
		next, err := table.Build(&table.Table{Groups: []*table.Group{g}}, &plan.Plan{LB: plan.LB{
			Enabled: true, Backends: []plan.Backend{{Name: "git", Check: fixed, Servers: []plan.Server{g.Members[0].Config}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		next.Install(time.Now())
		w.apply(next)
		if d := within(t, next.Groups[0], "g1", table.Up); d > time.Minute {
			t.Errorf("up after %s", d)
		}
	})
}
