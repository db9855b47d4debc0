package table

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/plan"
)

// installed is a backend in force, all of whose servers are up.
func installed(t *testing.T, servers ...plan.Server) *Group {
	t.Helper()
	tab := build(t, nil, plan.Backend{Name: "b", Servers: servers})
	tab.Install(time.Unix(1e9, 0))
	return tab.Groups[0]
}

// TestQueue: places go to those who wait longest, and to nobody who comes later.
func TestQueue(t *testing.T) {
	g := installed(t, plan.Server{Name: "a", Weight: 1, MaxConnections: 1})
	a := g.Members[0].Server
	if s, _ := g.Pick(netip.Addr{}, nil); s != a {
		t.Fatal("the first one has no place")
	}
	var got []int
	waiters := make([]*Waiter, 4)
	for i := range waiters {
		waiters[i] = &Waiter{Grant: func(*Server) { got = append(got, i) }}
		g.Wait(waiters[i])
	}
	if !g.Forget(waiters[1]) || g.Forget(waiters[1]) {
		t.Error("Forget of one who waits is not true once")
	}
	a.Leave()
	if s, full := g.Pick(netip.Addr{}, nil); s != nil || !full {
		t.Error("somebody overtakes the queue")
	}
	for range 2 { // the second time there is no place
		g.Serve()
	}
	if diff := cmp.Diff([]int{0}, got); diff != "" {
		t.Error(diff)
	}
	if g.Forget(waiters[0]) {
		t.Error("Forget of one who has a place is true")
	}
	for range 2 {
		a.Leave()
		g.Serve()
	}
	if diff := cmp.Diff([]int{0, 2, 3}, got); diff != "" {
		t.Error(diff)
	}
	if g.Queued.Load() != 0 || g.MaxQueue.Load() != 4 || a.Active.Load() != 1 {
		t.Errorf("%d wait, at most %d, %d places taken", g.Queued.Load(), g.MaxQueue.Load(), a.Active.Load())
	}
}

// TestQueueTried: who has tried the server with room lets others pass, and gets it when no other is left.
func TestQueueTried(t *testing.T) {
	g := installed(t, plan.Server{Name: "a", Weight: 1, MaxConnections: 1}, plan.Server{Name: "b", Weight: 1, MaxConnections: 1})
	a, b := g.Members[0].Server, g.Members[1].Server
	for range 2 {
		if s, _ := g.Pick(netip.Addr{}, nil); s == nil {
			t.Fatal("no place")
		}
	}
	got := map[string]*Server{}
	wait := func(name string, tried ...*Server) {
		g.Wait(&Waiter{Tried: tried, Grant: func(s *Server) { got[name] = s }})
	}
	wait("tried a", a)
	wait("new")
	a.Leave()
	g.Serve()
	if got["tried a"] != nil || got["new"] != a {
		t.Errorf("a was free: %v", got)
	}
	b.Set(Dead, time.Unix(1e9, 0))
	a.Leave()
	g.Update(time.Unix(1e9, 0)) // serves
	if got["tried a"] != a {
		t.Errorf("only a was left: %v", got)
	}
}

// TestPlaces: whoever comes at once, a server has no more connections than it may, and no
// place is left while somebody waits.
func TestPlaces(t *testing.T) {
	for _, queue := range []bool{false, true} {
		t.Run(map[bool]string{false: "without queue", true: "with queue"}[queue], func(t *testing.T) {
			const clients, rounds = 2, 300_000
			g := installed(t, plan.Server{Name: "a", Weight: 1, MaxConnections: 1})
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					for range rounds {
						s, full := g.Pick(netip.Addr{}, nil)
						if full && queue {
							if s = waitFor(t, g); s == nil {
								return
							}
						}
						if s == nil {
							continue
						}
						if n := s.Active.Load(); n != 1 {
							t.Errorf("%d connections", n)
							return
						}
						s.Leave()
						g.Serve()
					}
				})
			}
			all.Wait()
			if a := g.Members[0].Server; a.MaxActive.Load() != 1 || a.Active.Load() != 0 || g.Queued.Load() != 0 {
				t.Errorf("at most %d connections, %d at the end, %d wait", a.MaxActive.Load(), a.Active.Load(), g.Queued.Load())
			}
		})
	}
}

func waitFor(t *testing.T, g *Group) *Server {
	place := make(chan *Server, 1)
	g.Wait(&Waiter{Grant: func(s *Server) { place <- s }})
	select {
	case s := <-place:
		return s
	case <-time.After(20 * time.Second):
		t.Error("nobody gives the place that is free")
		return nil
	}
}

// TestQueueLate: whoever comes to the queue when the last server that was not checked yet has just turned
// out dead is told so, and does not wait for nothing.
func TestQueueLate(t *testing.T) {
	tab := build(t, nil, plan.Backend{
		Name: "b", Check: plan.Check{Type: plan.CheckTCP}, Servers: []plan.Server{{Name: "a", Weight: 1}},
	})
	now := time.Unix(1e9, 0)
	tab.Install(now)
	g := tab.Groups[0]
	if s, full := g.Pick(netip.Addr{}, nil); s != nil || !full {
		t.Fatalf("got %v, %t from a backend that nobody has checked", s, full)
	}
	g.Members[0].Set(Dead, now)
	g.Update(now)
	told := 0
	g.Wait(&Waiter{Grant: func(s *Server) {
		if s != nil {
			t.Errorf("got a place on %s, which is dead", s.Name)
		}
		told++
	}})
	if told != 1 || g.Queued.Load() != 0 {
		t.Errorf("told %d times that there is no server, and %d wait", told, g.Queued.Load())
	}
}
