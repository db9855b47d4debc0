package table

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/plan"
)

func build(t *testing.T, prev *Table, b plan.Backend) *Table {
	t.Helper()
	for i := range b.Servers {
		s := &b.Servers[i]
		if !s.Address.IsValid() {
			s.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 443)
		}
	}
	tab, err := Build(prev, &plan.Plan{LB: plan.LB{Enabled: true, Backends: []plan.Backend{b}}})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// spread picks n times and counts.
func spread(b *Backend, n int) map[string]int {
	got := map[string]int{}
	for range n {
		name := "none"
		if s, _ := b.Pick(netip.Addr{}, nil); s != nil {
			name = s.Name
		}
		got[name]++
	}
	return got
}

func TestChoose(t *testing.T) {
	tests := []struct {
		name     string
		states   []State // of a, b, and c, which is a backup
		fallback int     // index of a server that answers on the fallback path, or -1
		want     map[string]int
	}{
		{"all up", []State{Up, Up, Up}, -1, map[string]int{"a": 6, "b": 6}},
		{"one unready", []State{Up, Unready, Up}, -1, map[string]int{"a": 12}},
		{"backup only", []State{Dead, Unready, Up}, -1, map[string]int{"c": 12}},
		{"fallback is after backup", []State{Dead, Unready, Up}, 1, map[string]int{"c": 12}},
		{"fallback", []State{Dead, Unready, Dead}, 1, map[string]int{"b": 12}},
		{"a dead server has no fallback", []State{Dead, Dead, Retired}, 1, map[string]int{"none": 12}},
		{"starting", []State{Starting, Starting, Starting}, -1, map[string]int{"none": 12}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(1e9, 0)
			tab := build(t, nil, plan.Backend{Name: "b", Check: plan.Check{Type: plan.CheckTCP}, Servers: []plan.Server{
				{Name: "a", Weight: 1}, {Name: "b", Weight: 1}, {Name: "c", Weight: 1, Backup: true},
			}})
			tab.Install(now)
			g := tab.Groups[0]
			for i, st := range tt.states {
				g.Members[i].Set(st, now)
				g.Members[i].SetFallback(i == tt.fallback)
			}
			g.Update(now)
			if diff := cmp.Diff(tt.want, spread(g.Backend, 12)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSlowStart(t *testing.T) {
	now := time.Unix(1e9, 0)
	tab := build(t, nil, plan.Backend{
		Name: "b", SlowStart: time.Minute, Check: plan.Check{Type: plan.CheckTCP},
		Servers: []plan.Server{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}},
	})
	tab.Install(now)
	g := tab.Groups[0]
	a, b := &g.Members[0], &g.Members[1]
	g.BeginSlowStart(a.Server, now) // no other server is up: it gets all its weight
	a.Set(Up, now)
	if g.Update(now) || g.Ramping() {
		t.Error("a lone server is in slow start")
	}
	g.BeginSlowStart(b.Server, now)
	b.Set(Up, now)
	for _, step := range []struct {
		after   time.Duration
		ramping bool
		want    map[string]int // of 125 connections
	}{
		{15 * time.Second, true, map[string]int{"a": 100, "b": 25}},
		{59 * time.Second, true, nil},
		{time.Minute, false, nil},
	} {
		if got := g.Update(now.Add(step.after)); got != step.ramping {
			t.Errorf("after %s: ramping = %v", step.after, got)
		}
		if step.want == nil {
			continue
		}
		if diff := cmp.Diff(step.want, spread(g.Backend, 125)); diff != "" {
			t.Errorf("after %s: %s", step.after, diff)
		}
	}
	if diff := cmp.Diff(map[string]int{"a": 50, "b": 50}, spread(g.Backend, 100)); diff != "" {
		t.Error(diff)
	}
	if g.Ramping() {
		t.Error("the slow start does not end")
	}
}

func TestPickTried(t *testing.T) {
	now := time.Unix(1e9, 0)
	tab := build(t, nil, plan.Backend{Name: "b", Servers: []plan.Server{
		{Name: "a", Weight: 1}, {Name: "b", Weight: 1, MaxConnections: 1},
	}})
	tab.Install(now) // without a check all are up
	g := tab.Groups[0]
	a, b := g.Members[0].Server, g.Members[1].Server
	if s, _ := g.Pick(netip.Addr{}, []*Server{a}); s != b {
		t.Errorf("after a: %v", s)
	}
	b.Active.Store(1)
	if s, full := g.Pick(netip.Addr{}, []*Server{a}); s != nil || !full {
		t.Errorf("b is full: %v, %v", s, full)
	}
	if s, full := g.Pick(netip.Addr{}, []*Server{a, b}); s != nil || full {
		t.Errorf("all tried: %v, %v", s, full)
	}
}

// TestSinceTheFirstTable: a server that was never checked has been so since it is in a table.
func TestSinceTheFirstTable(t *testing.T) {
	p := &plan.Plan{LB: plan.LB{Enabled: true, Backends: []plan.Backend{{
		Name: "b", Check: plan.Check{Type: plan.CheckTCP}, Servers: []plan.Server{{Name: "s", Address: netip.MustParseAddrPort("192.0.2.1:1"), Weight: 1}},
	}}}}
	tab, err := Build(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	first := time.Unix(1000, 0)
	tab.Install(first)
	tab.Install(first.Add(time.Minute))
	if st, since := tab.Groups[0].Members[0].State(); st != Starting || !since.Equal(first) {
		t.Errorf("%s since %s", st, since)
	}
}

// TestBuildShares: servers that stay are shared, and a new address is a new server.
func TestBuildShares(t *testing.T) {
	now := time.Unix(1e9, 0)
	first := build(t, nil, plan.Backend{Name: "b", Servers: []plan.Server{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}})
	first.Install(now)
	second := build(t, first, plan.Backend{Name: "b", Servers: []plan.Server{
		{Name: "a", Weight: 7},
		{Name: "b", Weight: 1, Address: netip.MustParseAddrPort("192.0.2.99:443")},
	}})
	if first.Groups[0].Backend != second.Groups[0].Backend {
		t.Error("the backend is another one")
	}
	if first.Groups[0].Members[0].Server != second.Groups[0].Members[0].Server {
		t.Error("a is another server")
	}
	if first.Groups[0].Members[1].Server == second.Groups[0].Members[1].Server {
		t.Error("b moved and is the same server")
	}
	if w := first.Groups[0].Group().Members[0].Config.Weight; w != 1 {
		t.Errorf("Build changed what is in force: weight %d", w)
	}
}
