package lb

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"helperd/plan"
	"helperd/services/lb/table"
)

// counts are those of a frontend, a backend and a server, as people read them in HAProxy.
type counts struct{ active, max, total, in, out int64 }

func countsOf(t *table.Traffic) counts {
	return counts{t.Active.Load(), t.MaxActive.Load(), int64(t.Total.Load()), int64(t.BytesIn.Load()), int64(t.BytesOut.Load())}
}

func TestTraffic(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	p := lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "hi")
		echo(c)
	}).addr))
	r.apply(p)
	began := time.Now()
	a, b := r.dial(front), r.dial(front)
	for _, c := range []*net.TCPConn{a, b} {
		if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
	}
	say(t, a, "hello")
	f, g, s := &r.lb.table.Frontends[0].Counters.Traffic, r.lb.table.Groups[0], r.tableServer("s1")
	all := map[string]*table.Traffic{"frontend": f, "backend": &g.Backend.Traffic, "server": &s.Traffic}
	for name, x := range all {
		waitFor(t, "the count of what has come at the "+name, func() bool { return x.BytesOut.Load() >= 9 })
		if got, want := countsOf(x), (counts{2, 2, 2, 5, 9}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if x.Rate.Max() < 1 || x.Rate.Max() > 2 {
			t.Errorf("%s: %d a second at most", name, x.Rate.Max())
		}
	}
	_, _ = a.Close(), b.Close()
	for name, x := range all {
		waitFor(t, "the end at the "+name, func() bool { return x.Active.Load() == 0 })
		if got, want := countsOf(x), (counts{0, 2, 2, 5, 9}); got != want {
			t.Errorf("%s after the end: %+v, want %+v", name, got, want)
		}
	}
	for _, x := range []*table.Failures{&g.Failures, &s.Failures} {
		if last := time.Unix(x.LastSession.Load(), 0); last.Before(began.Add(-2*time.Second)) || last.After(time.Now().Add(2*time.Second)) {
			t.Errorf("the last connection was at %s", last)
		}
		if us := x.ConnectMicros.Load(); us < 1 || us > 5e6 {
			t.Errorf("a connect takes %d us", us)
		}
		if x.ClientAborts.Load()+x.ServerAborts.Load()+x.Failed.Load()+x.Retries.Load()+x.Redispatches.Load() != 0 {
			t.Errorf("two good connections: %+v", x)
		}
	}
}

// TestHeaderIsNotCounted: the bytes of a client are its own.
func TestHeaderIsNotCounted(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	heard := make(chan int, 1)
	p := lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
		in, _ := io.ReadAll(c)
		heard <- len(in)
	}).addr))
	p.LB.Backends[0].SendProxy = "v2"
	r.apply(p)
	c := r.dial(front)
	_, _ = io.WriteString(c, "hello")
	_ = c.CloseWrite()
	if n := <-heard; n != 28+5 {
		t.Errorf("the server heard %d bytes", n)
	}
	if n := r.tableServer("s1").BytesIn.Load(); n != 5 {
		t.Errorf("BytesIn = %d", n)
	}
}

// TestFailures: what HAProxy counts as econ, wretr, wredis, cli_abrt and srv_abrt. The
// numbers are those of HAProxy 2.6 in the same cases.
func TestFailures(t *testing.T) {
	type want struct{ failed, retries, redispatches, client, server uint64 }
	of := func(x *table.Failures) want {
		return want{x.Failed.Load(), x.Retries.Load(), x.Redispatches.Load(), x.ClientAborts.Load(), x.ServerAborts.Load()}
	}
	echoing := func(c *net.TCPConn) {
		b := make([]byte, 1)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
			if b[0] == 'R' {
				_ = c.SetLinger(0)
				return
			}
			_, _ = c.Write(b)
		}
	}
	tests := []struct {
		name            string
		gone            int // servers that refuse, before the one that echoes
		alone           bool
		client, server  time.Duration
		run             func(*testing.T, *net.TCPConn)
		backend, last   want // last: the server that echoes, or refuses when it is alone
		firstOfTheGone  want
		timeouts, given uint64
	}{
		{name: "a good end", run: func(t *testing.T, c *net.TCPConn) { say(t, c, "x") }},
		{name: "reset by the client", run: func(t *testing.T, c *net.TCPConn) {
			say(t, c, "x")
			_ = c.SetLinger(0)
		}, backend: want{client: 1}, last: want{client: 1}},
		{name: "reset by the server", run: func(t *testing.T, c *net.TCPConn) {
			_, _ = io.WriteString(c, "R")
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client sees %v", err)
			}
		}, backend: want{server: 1}, last: want{server: 1}},
		{
			name: "a silent client", client: 100 * time.Millisecond, server: time.Minute, run: closed,
			backend: want{client: 1}, last: want{client: 1}, timeouts: 1,
		},
		{
			name: "a silent server", client: time.Minute, server: 100 * time.Millisecond, run: closed,
			backend: want{server: 1}, last: want{server: 1}, timeouts: 1,
		},
		{
			name: "both silent, same limits", client: 100 * time.Millisecond, server: 100 * time.Millisecond, run: closed,
			backend: want{client: 1}, last: want{client: 1}, timeouts: 1,
		},
		{
			name: "another server", gone: 1, run: func(t *testing.T, c *net.TCPConn) { say(t, c, "x") },
			backend: want{redispatches: 1}, firstOfTheGone: want{redispatches: 1},
		},
		{name: "no server", gone: 1, alone: true, run: func(t *testing.T, c *net.TCPConn) {
			_, _ = io.WriteString(c, "hello")
			closed(t, c)
		}, backend: want{failed: 1, retries: 1}, firstOfTheGone: want{failed: 1, retries: 1}, given: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			front := freeAddr(t, "127.0.0.1")
			var servers []plan.Server
			if tt.gone > 0 {
				servers = append(servers, tcpServer("gone", freeAddr(t, "127.0.0.1")))
			}
			if !tt.alone {
				servers = append(servers, tcpServer("good", newBackend(t, any0("127.0.0.1"), echoing).addr))
			}
			p := lbPlan(front, unchecked, servers...)
			p.LB.Retries = 1
			if tt.client != 0 {
				p.LB.Frontends[0].ClientTimeout, p.LB.Backends[0].ServerTimeout = tt.client, tt.server
			}
			r.apply(p)
			c := r.dial(front)
			tt.run(t, c)
			_ = c.Close()
			waitFor(t, "the end", func() bool { return r.lb.engine.Active() == 0 })
			g := r.lb.table.Groups[0]
			if got := of(&g.Failures); got != tt.backend {
				t.Errorf("backend %+v, want %+v", got, tt.backend)
			}
			if got := of(&g.Members[0].Server.Failures); tt.gone > 0 && got != tt.firstOfTheGone {
				t.Errorf("refusing server %+v, want %+v", got, tt.firstOfTheGone)
			}
			if !tt.alone {
				if got := of(&r.tableServer("good").Failures); got != tt.last {
					t.Errorf("server %+v, want %+v", got, tt.last)
				}
			}
			if n := r.lb.Status().Counters["timeouts"]; n != tt.timeouts {
				t.Errorf("timeouts = %d", n)
			}
			if n := g.NoneUp.Load(); n != tt.given {
				t.Errorf("NoneUp = %d", n)
			}
		})
	}
}

// closed waits for a FIN.
func closed(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client sees %v, want a FIN", err)
	}
}
