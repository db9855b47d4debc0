package lb

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
)

// TestReloadUnderLoad makes thousands of connections during 50 reloads that add
// and remove servers and frontends. None may be lost, and long ones go on.
func TestReloadUnderLoad(t *testing.T) {
	const reloads, clients = 50, 8
	r := newRig(t)
	front, extra := freeAddr(t, "127.0.0.1"), freeAddr(t, "127.0.0.2")
	var servers []plan.Server
	for i := range 3 {
		servers = append(servers, tcpServer(fmt.Sprintf("s%d", i), newBackend(t, any0("127.0.0.1"), echo).addr))
	}
	variant := func(i int) *plan.Plan {
		p := lbPlan(front, quick, servers[:1+i%3]...)
		p.LB.Backends[0].Balance = []plan.Balance{plan.RoundRobin, plan.LeastConn, plan.Source}[i%3]
		if i%2 == 1 {
			p.LB.Frontends = append(p.LB.Frontends, plan.Frontend{Name: "extra", Listen: []netip.AddrPort{extra}, Backend: "back"})
		}
		return p
	}
	r.apply(variant(0))
	r.waitState("back", "s0", "up")

	exchange := func(c net.Conn, i int) error {
		msg := fmt.Sprintf("message %d", i)
		if _, err := io.WriteString(c, msg); err != nil {
			return err
		}
		got := make([]byte, len(msg))
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if string(got) != msg {
			return fmt.Errorf("got %q", got)
		}
		return nil
	}
	var stop atomic.Bool
	var done, failures atomic.Int64
	var all sync.WaitGroup
	fail := func(err error) {
		if failures.Add(1) < 5 {
			t.Error(err)
		}
	}
	for range clients {
		all.Go(func() {
			for i := 0; !stop.Load(); i++ {
				c, err := net.DialTimeout("tcp", front.String(), 5*time.Second)
				if err != nil {
					fail(err)
					continue
				}
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				if err := exchange(c, i); err != nil {
					fail(fmt.Errorf("short connection: %w", err))
				}
				_ = c.Close()
				done.Add(1)
			}
		})
	}
	long := make([]*net.TCPConn, 50)
	for i := range long {
		long[i] = r.dial(front)
		if err := exchange(long[i], i); err != nil {
			t.Fatal(err)
		}
	}
	all.Go(func() {
		for i := 0; !stop.Load(); i++ {
			c := long[i%len(long)]
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if err := exchange(c, i); err != nil {
				fail(fmt.Errorf("long connection: %w", err))
			}
			time.Sleep(time.Millisecond)
		}
	})
	for i := range reloads {
		r.apply(variant(i + 1))
		// A connection that is queued at a frontend that goes is served.
		if i%2 == 0 {
			c, err := net.DialTimeout("tcp", extra.String(), 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			r.apply(variant(i))
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if err := exchange(c, i); err != nil {
				t.Errorf("connection to a frontend that was removed: %v", err)
			}
			_ = c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop.Store(true)
	all.Wait()
	t.Logf("%d connections, %d failures", done.Load(), failures.Load())
	if done.Load() < 1000 {
		t.Errorf("only %d connections: the load was too low to show anything", done.Load())
	}
}

// TestReloadKeepsState: a server that stays keeps state and counters.
func TestReloadKeepsState(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), name("s1"))
	p := lbPlan(front, quick, tcpServer("s1", b.addr))
	r.apply(p)
	r.waitState("back", "s1", "up")
	if _, err := ask(front); err != nil {
		t.Fatal(err)
	}
	before := r.server("back", "s1")
	p = lbPlan(front, quick, tcpServer("s1", b.addr), tcpServer("s2", freeAddr(t, "127.0.0.1")))
	r.apply(p)
	after := r.server("back", "s1")
	if after.State != before.State || !after.Since.Equal(before.Since) || after.Total != 1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if s := r.server("back", "s2"); s.Total != 0 || s.State == "up" {
		t.Errorf("new server: %+v", s)
	}
}

// TestDiscard: a change that is thrown away leaves no trace.
func TestDiscard(t *testing.T) {
	r := newRig(t)
	front, other := freeAddr(t, "127.0.0.1"), freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), name("s1"))
	r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
	c, err := r.lb.Prepare(t.Context(), lbPlan(other, unchecked, tcpServer("s2", b.addr)))
	if err != nil {
		t.Fatal(err)
	}
	c.Discard()
	if got, err := ask(front); got != "s1" || err != nil {
		t.Errorf("after Discard: %q, %v", got, err)
	}
	if _, err := ask(other); err == nil {
		t.Error("the discarded frontend is listened on")
	}
	if s := r.server("back", "s2"); s.Name != "" {
		t.Error("the discarded server is shown")
	}
}

func TestPrepareErrors(t *testing.T) {
	front := netip.MustParseAddrPort("127.0.0.1:1")
	tests := []struct {
		name string
		edit func(*plan.LB)
		want string
	}{
		{"no such backend", func(l *plan.LB) { l.Frontends[0].Backend = "nope" }, `frontend front: there is no backend "nope"`},
		{"same address", func(l *plan.LB) {
			l.Frontends = append(l.Frontends, plan.Frontend{Name: "second", Backend: "back", Listen: l.Frontends[0].Listen})
		}, "frontends front and second both listen on 127.0.0.1:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			p := lbPlan(front, unchecked)
			tt.edit(&p.LB)
			_, err := r.lb.Prepare(t.Context(), p)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestStatus: disabled, and a port that another process holds and then frees.
func TestStatus(t *testing.T) {
	r := newRig(t)
	r.apply(&plan.Plan{})
	if st := r.lb.Status(); st.State != services.Disabled {
		t.Errorf("disabled: %+v", st)
	}
	if err := r.lb.Check(t.Context()); err != nil {
		t.Errorf("Check while disabled: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held := netip.MustParseAddrPort(l.Addr().String())
	b := newBackend(t, any0("127.0.0.1"), name("s1"))
	p := lbPlan(held, unchecked, tcpServer("s1", b.addr))
	r.apply(p)
	st := r.lb.Status()
	if st.State != services.Degraded || !strings.Contains(st.Problem, "is held by") {
		t.Errorf("held: %+v", st)
	}
	if err := r.lb.Check(t.Context()); err != nil {
		t.Errorf("Check while the port is held: %v", err)
	}
	_ = l.Close()
	waitFor(t, "port taken", func() bool { got, _ := ask(held); return got == "s1" })
	if err := r.lb.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSharedListener: with one descriptor for all workers they share it.
func TestSharedListener(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	s, err := r.host.Sockets.Acquire(socket.Key{Network: "tcp", Addr: front}, socket.Options{Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	b := newBackend(t, any0("127.0.0.1"), name("s1"))
	p := lbPlan(front, unchecked, tcpServer("s1", b.addr))
	p.LB.MaxConnections = 3 // pauses and resumes
	r.apply(p)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				if got, err := ask(front); got != "s1" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}

// TestWorkerPanic: the other workers go on, and the one that panicked keeps its tunnels.
func TestWorkerPanic(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), echo)
	r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
	var conns []*net.TCPConn
	for range 20 * Workers() {
		conns = append(conns, r.dial(front))
	}
	talk := func() error {
		for i, c := range conns {
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			if _, err := io.WriteString(c, "x"); err != nil {
				return fmt.Errorf("tunnel %d: %w", i, err)
			}
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				return fmt.Errorf("tunnel %d: %w", i, err)
			}
		}
		return nil
	}
	if err := talk(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		before := r.host.Guard.Panics()
		r.host.Fuse.Arm()
		if err := talk(); err != nil {
			t.Fatal(err)
		}
		if r.host.Guard.Panics() != before+1 {
			t.Fatal("the fuse did not blow")
		}
	}
	conns = append(conns, r.dial(front))
	if err := talk(); err != nil {
		t.Error(err)
	}
}
