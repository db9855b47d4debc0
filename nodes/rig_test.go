package nodes

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"helperd/plan"
	"helperd/state"
	"helperd/timeline"
)

type rig struct {
	*Registry
	now   time.Time
	store *state.Store
	tl    *timeline.Timeline
	node  *plan.Node

	neighbours []plan.MAC // who has every address
	alive      map[*plan.Cluster]bool
	listens    map[netip.AddrPort]bool
}

func newRig(t *testing.T) *rig {
	t.Helper()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	g := &rig{now: time.Unix(1_800_000_000, 0), store: store}
	g.node = &plan.Node{Name: "w0", FQDN: "w0.ocp4.example.com", MACs: []plan.MAC{{1}}, IP: netip.MustParseAddr("10.0.0.21")}
	g.restart(t)
	return g
}

// Apply waits for what clusters answer, too.
func (g *rig) Apply(ctx context.Context, p *plan.Plan) {
	g.Registry.Apply(ctx, p)
	g.asking.Wait()
}

func (g *rig) clock() time.Time { return g.now }

func (g *rig) restart(t *testing.T) {
	t.Helper()
	g.tl = timeline.New(g.clock)
	r, err := New(g.store, g.tl, slog.New(slog.NewTextHandler(io.Discard, nil)), g.clock)
	if err != nil {
		t.Fatal(err)
	}
	r.Neighbours = func(netip.Addr) ([]plan.MAC, error) { return g.neighbours, nil }
	r.lives = func(_ context.Context, cl *plan.Cluster) bool { return g.alive[cl] }
	r.speaks = func(_ context.Context, s netip.AddrPort) bool { return g.listens[s] }
	g.Registry = r
}

func (g *rig) wait(d time.Duration) { g.now = g.now.Add(d) }

// install goes through a whole installation up to the written disk.
func (g *rig) install(t *testing.T) string {
	t.Helper()
	g.Acked(g.node.MACs[0], g.node.IP)
	s := g.Boot(g.node, g.node.IP)
	if s.Disk || s.Token == "" {
		t.Fatalf("script %+v, want an installation with a token", s)
	}
	g.wait(time.Minute)
	g.RootfsFetched(g.node)
	g.IgnitionFetched(g.node)
	if p := g.State(g.node).Phase; p != Written {
		t.Fatalf("phase %s after all was fetched", p)
	}
	g.wait(3 * time.Minute)
	return s.Token
}

func (g *rig) events(k timeline.Kind) (details []string) {
	for _, e := range g.tl.Since(0) {
		if e.Kind == k {
			details = append(details, e.Detail)
		}
	}
	return details
}
