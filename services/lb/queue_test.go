package lb

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"helperd/plan"
)

// limitedPlan has one server that takes at most limit connections; those above it wait long.
func limitedPlan(r *rig, limit int, serve func(*net.TCPConn)) (*plan.Plan, *backend) {
	b := newBackend(r.t, any0("127.0.0.1"), serve)
	s := tcpServer("s1", b.addr)
	s.MaxConnections = limit
	p := lbPlan(freeAddr(r.t, "127.0.0.1"), unchecked, s)
	p.LB.Backends[0].QueueTimeout = time.Minute
	return p, b
}

func (r *rig) queued() int64 { return r.lb.table.Groups[0].Queued.Load() }

func (r *rig) waitQueued(n int64) {
	r.t.Helper()
	waitFor(r.t, fmt.Sprint(n, " connections in the queue"), func() bool { return r.queued() == n })
}

// TestQueueOrder: who waits longest is next, whichever worker has it, and is dialled at once.
func TestQueueOrder(t *testing.T) {
	r := newRig(t)
	p, b := limitedPlan(r, 1, echo)
	r.apply(p)
	front := p.LB.Frontends[0].Listen[0]
	const waiting = 12
	first := r.dial(front)
	say(t, first, "x")
	type turn struct {
		place int
		at    time.Time
	}
	served := make(chan turn, waiting)
	var conns []*net.TCPConn
	for i := range waiting {
		c := r.dial(front)
		r.waitQueued(int64(i + 1)) // the order is that of arrival
		conns = append(conns, c)
		go func() {
			if err := echoed(c, "y"); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
			served <- turn{i, time.Now()}
		}()
	}
	if n := b.conns.Load(); n != 1 {
		t.Fatalf("the server has %d connections", n)
	}
	ended := time.Now()
	_ = first.Close()
	quick := 0
	for i := range waiting {
		got := <-served
		if got.place != i {
			t.Fatalf("connection %d was served in place %d", got.place, i)
		}
		if got.at.Sub(ended) < 50*time.Millisecond {
			quick++
		}
		ended = time.Now()
		_ = conns[got.place].Close()
	}
	if quick < waiting/2 { // polling every 100 ms would make it none
		t.Errorf("only %d of %d were served within 50 ms", quick, waiting)
	}
	if m := r.lb.table.Groups[0].MaxQueue.Load(); m != waiting || r.queued() != 0 {
		t.Errorf("%d wait, at most %d", r.queued(), m)
	}
}

// TestServerLimit: many clients at once never get more connections to a server than it may have.
func TestServerLimit(t *testing.T) {
	const limit, clients, rounds = 3, 40, 15
	r := newRig(t)
	var now, most atomic.Int64
	p, _ := limitedPlan(r, limit, func(c *net.TCPConn) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		_, _ = io.ReadFull(c, make([]byte, 1))
		now.Add(-1) // before the client is told to close, which frees the place
		_, _ = io.WriteString(c, "x")
		_, _ = io.Copy(io.Discard, c)
	})
	r.apply(p)
	front := p.LB.Frontends[0].Listen[0]
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range rounds {
				c, err := net.Dial("tcp", front.String())
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				err = echoed(c, "x")
				_ = c.Close()
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if most.Load() > limit {
		t.Errorf("the server had %d connections, may have %d", most.Load(), limit)
	}
	s := r.tableServer("s1")
	if m := s.MaxActive.Load(); m != limit {
		t.Errorf("MaxActive = %d, want %d", m, limit)
	}
	waitFor(t, "all places free", func() bool { return s.Active.Load() == 0 && r.queued() == 0 })
	if n := s.Total.Load(); n != clients*rounds {
		t.Errorf("%d connections, want %d", n, clients*rounds)
	}
}

// TestLeavingTheQueue: who hangs up while it waits is not connected to the server.
func TestLeavingTheQueue(t *testing.T) {
	tests := []struct {
		name  string
		leave func(*net.TCPConn)
	}{
		{"FIN", func(c *net.TCPConn) { _ = c.Close() }},
		{"FIN after data", func(c *net.TCPConn) { _, _ = io.WriteString(c, "hello"); _ = c.Close() }},
		{"RST", func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			p, b := limitedPlan(r, 1, echo)
			r.apply(p)
			front := p.LB.Frontends[0].Listen[0]
			first := r.dial(front)
			say(t, first, "x")
			quitter := r.dial(front)
			r.waitQueued(1)
			last := r.dial(front)
			r.waitQueued(2)
			tt.leave(quitter)
			r.waitQueued(1)
			_ = first.Close()
			say(t, last, "y")
			if n := b.conns.Load(); n != 2 {
				t.Errorf("the server had %d connections, want 2", n)
			}
			if n := r.lb.table.Groups[0].ClientAborts.Load(); n != 1 {
				t.Errorf("ClientAborts = %d", n)
			}
		})
	}
}

// TestQueueTimeout: who waits in vain is closed by a FIN, at its time, and counted.
func TestQueueTimeout(t *testing.T) {
	r := newRig(t)
	p, b := limitedPlan(r, 1, echo)
	p.LB.Backends[0].QueueTimeout = 300 * time.Millisecond
	r.apply(p)
	front := p.LB.Frontends[0].Listen[0]
	first := r.dial(front)
	say(t, first, "x")
	c, began := r.dial(front), time.Now()
	_, _ = io.WriteString(c, "data that nobody reads")
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client sees %v, want a FIN", err)
	}
	if d := time.Since(began); d < 290*time.Millisecond || d > 5*time.Second {
		t.Errorf("after %s", d)
	}
	say(t, first, "still")
	g := r.lb.table.Groups[0]
	if g.Failed.Load() != 1 || g.NoneUp.Load() != 1 || g.Queued.Load() != 0 || b.conns.Load() != 1 || r.tableServer("s1").Failed.Load() != 0 {
		t.Errorf("failed %d, closed %d, queued %d, server connections %d", g.Failed.Load(), g.NoneUp.Load(), g.Queued.Load(), b.conns.Load())
	}
}

// TestRedispatchWaits: a connection whose first server refused waits for a place on the other one.
func TestRedispatchWaits(t *testing.T) {
	r := newRig(t)
	p, b := limitedPlan(r, 1, echo)
	p.LB.Backends[0].Servers = append(p.LB.Backends[0].Servers, tcpServer("gone", freeAddr(t, "127.0.0.1")))
	r.apply(p)
	front := p.LB.Frontends[0].Listen[0]
	first := r.dial(front)
	say(t, first, "x")
	var late []*net.TCPConn
	for range 4 {
		late = append(late, r.dial(front))
	}
	r.waitQueued(4)
	if n := b.conns.Load(); n != 1 {
		t.Errorf("the server has %d connections, may have 1", n)
	}
	_ = first.Close()
	for _, c := range late {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	var all sync.WaitGroup
	for _, c := range late {
		all.Go(func() {
			if err := echoed(c, "y"); err != nil {
				t.Error(err)
			}
			_ = c.Close()
		})
	}
	all.Wait()
	if m := r.tableServer("s1").MaxActive.Load(); m != 1 {
		t.Errorf("the server had %d connections at a time", m)
	}
}

// TestRoomByReload: a higher limit, and a new server, serve those who wait at once.
func TestRoomByReload(t *testing.T) {
	r := newRig(t)
	p, _ := limitedPlan(r, 1, echo)
	r.apply(p)
	front := p.LB.Frontends[0].Listen[0]
	say(t, r.dial(front), "x")
	second, third := r.dial(front), r.dial(front)
	r.waitQueued(2)
	higher := *p
	higher.LB.Backends = []plan.Backend{p.LB.Backends[0]}
	higher.LB.Backends[0].Servers = []plan.Server{p.LB.Backends[0].Servers[0]}
	higher.LB.Backends[0].Servers[0].MaxConnections = 2
	r.apply(&higher)
	r.waitQueued(1)
	more := higher
	more.LB.Backends = []plan.Backend{higher.LB.Backends[0]}
	more.LB.Backends[0].Servers = append(more.LB.Backends[0].Servers[:1:1], tcpServer("s2", newBackend(t, any0("127.0.0.1"), echo).addr))
	r.apply(&more)
	r.waitQueued(0)
	say(t, second, "y")
	say(t, third, "z")
}

// twoFrontends serves an echo at two frontends, the first of which may have so many connections.
func twoFrontends(t *testing.T, limit int) (*rig, *plan.Plan) {
	r := newRig(t)
	p := lbPlan(freeAddr(t, "127.0.0.1"), unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), echo).addr))
	p.LB.Frontends[0].MaxConnections = limit
	p.LB.Frontends = append(p.LB.Frontends, plan.Frontend{Name: "other", Listen: []netip.AddrPort{freeAddr(t, "127.0.0.1")}, Backend: "back"})
	r.apply(p)
	return r, p
}

// TestFrontendLimit: a full frontend lets its clients wait, and only its own.
func TestFrontendLimit(t *testing.T) {
	r, p := twoFrontends(t, 3)
	front, other, f := p.LB.Frontends[0].Listen[0], p.LB.Frontends[1].Listen[0], r.lb.table.Frontends[0]
	answers := make(chan *net.TCPConn, 8)
	for range 8 {
		c := r.dial(front)
		go func() {
			if err := echoed(c, "x"); err != nil {
				t.Error(err)
			}
			answers <- c
		}()
	}
	var in []*net.TCPConn
	for range 3 {
		in = append(in, <-answers)
	}
	waitFor(t, "a full frontend", func() bool { return f.Counters.AtLimit.Load() > 0 })
	for range 5 {
		say(t, r.dial(other), "elsewhere")
	}
	if err := r.lb.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	select {
	case <-answers:
		t.Error("a fourth connection was served")
	case <-time.After(100 * time.Millisecond):
	}
	for served := 3; len(in) > 0; {
		_ = in[0].Close()
		if in = in[1:]; served == 8 {
			continue
		}
		select {
		case c := <-answers:
			in, served = append(in, c), served+1
		case <-time.After(10 * time.Second):
			t.Fatal("nobody was served after one ended")
		}
	}
	waitFor(t, "all ended", func() bool { return f.Counters.Active.Load() == 0 })
	if m, n := f.Counters.MaxActive.Load(), f.Counters.Total.Load(); m != 3 || n != 8 {
		t.Errorf("at most %d of %d connections, want 3 of 8", m, n)
	}
}

// TestRemovedAtLimit: a frontend that leaves the file while it has as many connections as it may
// have serves those that wait in the kernel, and resets none.
func TestRemovedAtLimit(t *testing.T) {
	r, p := twoFrontends(t, 1)
	front, f := p.LB.Frontends[0].Listen[0], r.lb.table.Frontends[0]
	say(t, r.dial(front), "first")
	conns := make([]*net.TCPConn, 8)
	for i := range conns {
		conns[i] = r.dial(front)
	}
	waitFor(t, "a full frontend", func() bool { return f.Counters.AtLimit.Load() > 0 })
	without := *p
	without.LB.Frontends = p.LB.Frontends[1:]
	r.apply(&without)
	for i, c := range conns {
		if err := echoed(c, "x"); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
		_ = c.Close()
	}
}

// TestRate: what one client opens too fast is reset and counted; another one does not notice.
func TestRate(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	p := lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), echo).addr))
	p.LB.Frontends[0].Rate = plan.Rate{Connections: 5, Per: time.Hour}
	r.apply(p)
	try := func(ip string, n int) (passed int) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 5 * time.Second}
		for range n {
			c, err := d.Dial("tcp", front.String())
			if err != nil { // the reset may be quicker than connect returns
				continue
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			switch err := echoed(c, "x"); {
			case err == nil:
				passed++
			case errors.Is(err, io.EOF):
				t.Error("refused by a FIN, want a reset")
			}
			_ = c.Close()
		}
		return passed
	}
	if n := try("127.0.0.21", 20); n != 5 {
		t.Errorf("%d of 20 connections passed, want 5", n)
	}
	if n := try("127.0.0.22", 3); n != 3 {
		t.Errorf("another client: %d of 3", n)
	}
	f := r.lb.table.Frontends[0].Counters
	if f.TooFast.Load() != 15 || f.Total.Load() != 8 || r.lb.Status().Counters["too_fast"] != 15 {
		t.Errorf("%d too fast, %d in all", f.TooFast.Load(), f.Total.Load())
	}
	if err := r.lb.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
}
