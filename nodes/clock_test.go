package nodes

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

func TestSawClock(t *testing.T) {
	node, stranger := netip.MustParseAddr("10.0.0.21"), netip.MustParseAddr("10.0.0.99")
	const hour = time.Hour
	type seen struct {
		addr   netip.Addr
		off    time.Duration
		random bool
		after  time.Duration
	}
	for _, tt := range []struct {
		name string
		seen []seen
		want []string // events, as KIND and the beginning of the detail
	}{
		{"right", []seen{{node, 3 * time.Second, true, 0}, {node, -59 * time.Second, true, 0}}, nil},
		{"random", []seen{{node, hour, true, 0}, {node, 2 * hour, true, 0}, {node, -9000 * hour, true, 0}, {node, 2 * hour, true, 0}}, nil},
		{"twice the same", []seen{{node, -3 * hour, true, 0}, {node, -3*hour + time.Second, true, time.Minute}}, []string{"clock.wrong it is 3 hours behind"}},
		{"the same after too long", []seen{{node, -3 * hour, true, 0}, {node, -3 * hour, true, 3 * hour}}, nil},
		{"said once", []seen{{node, 90 * time.Second, false, 0}}, []string{"clock.wrong it is 90 seconds ahead of"}},
		{"a stranger", []seen{{stranger, hour, false, 0}}, nil},
		{"told once in ten minutes", []seen{
			{node, 800 * 24 * hour, false, 0},
			{node, 800 * 24 * hour, false, time.Minute},
			{node, 800 * 24 * hour, false, 10 * time.Minute},
		}, []string{"clock.wrong it is 2 years ahead of", "clock.wrong it is 2 years ahead of"}},
		{"set", []seen{{node, -hour, false, 0}, {node, time.Second, true, time.Minute}, {node, 0, true, time.Minute}}, []string{
			"clock.wrong it is 60 minutes behind", "clock.right it is right now",
		}},
		{"wrong again", []seen{{node, -hour, false, 0}, {node, 0, true, time.Minute}, {node, -hour, false, time.Minute}}, []string{
			"clock.wrong it is 60 minutes behind", "clock.right it is right now", "clock.wrong it is 60 minutes behind",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			p := &plan.Plan{Nodes: []*plan.Node{g.node}}
			g.tl.Apply(p)
			g.Apply(t.Context(), p)
			for _, s := range tt.seen {
				g.wait(s.after)
				g.SawClock(s.addr, s.off, s.random)
			}
			var got []string
			for _, e := range g.tl.Since(0) {
				if e.Kind == timeline.ClockWrong || e.Kind == timeline.ClockRight {
					if e.Node != g.node.FQDN {
						t.Errorf("event of %q", e.Node)
					}
					got = append(got, string(e.Kind)+" "+strings.TrimPrefix(e.Detail, "clock: "))
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("events %q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tt.want[i]) {
					t.Errorf("event %q, want %q", got[i], tt.want[i])
				}
			}
			g.Apply(t.Context(), &plan.Plan{})
			if n := g.clocks.wrong.Load(); n != 0 || len(g.clocks.told) != 0 {
				t.Errorf("%d wrong clocks of no node, %d remembered", n, len(g.clocks.told))
			}
		})
	}
}

func TestHelperClockThatNothingKeeps(t *testing.T) {
	g := newRig(t)
	p := &plan.Plan{Nodes: []*plan.Node{g.node}}
	g.tl.Apply(p)
	g.Apply(t.Context(), p)
	g.HelperClock(false)
	g.SawClock(g.node.IP, -time.Hour, false)
	if hint := g.tl.Story(g.node.FQDN).Hint; !strings.Contains(hint, "nothing keeps the helper's own clock") {
		t.Errorf("hint %q", hint)
	}
}
