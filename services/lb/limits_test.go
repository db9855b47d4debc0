package lb

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/plan"
)

// exhaust takes all descriptors of the process but some. The returned function gives them back.
func exhaust(t *testing.T, leave int) (release func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	few := before
	few.Cur = min(1024, before.Cur)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var held []int
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		held = append(held, fd)
	}
	free := func(n int) {
		for _, fd := range held[:n] {
			_ = unix.Close(fd)
		}
		held = held[n:]
	}
	free(leave)
	done := false
	release = func() {
		if !done {
			done = true
			free(len(held))
			_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
		}
	}
	t.Cleanup(release)
	return release
}

// TestOutOfDescriptors: a connection waits while there is no descriptor for it, or
// for its server, and is served when there is. Check does not take that for a fault.
func TestOutOfDescriptors(t *testing.T) {
	for leave, where := range map[int]string{1: "accept", 2: "connect"} {
		t.Run(where, func(t *testing.T) {
			r := newRig(t)
			front, b := freeAddr(t, "127.0.0.1"), newBackend(t, any0("127.0.0.1"), name("s1"))
			p := lbPlan(front, unchecked, tcpServer("s1", b.addr))
			p.LB.Backends[0].QueueTimeout = 5 * time.Second
			r.apply(p)
			if got, err := ask(front); got != "s1" {
				t.Fatalf("%q, %v", got, err)
			}
			waitFor(t, "the end of the connection", func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return r.lb.engine.Active() == 0 && len(b.open) == 0
			})
			release := exhaust(t, leave)
			c := r.dial(front)
			time.Sleep(300 * time.Millisecond)
			if err := r.lb.Check(t.Context()); err != nil {
				t.Errorf("Check: %v", err)
			}
			release()
			if got, err := io.ReadAll(c); string(got) != "s1" {
				t.Errorf("the client got %q, %v", got, err)
			}
			if n := r.server("back", "s1").Failed; n != 0 {
				t.Errorf("the server is blamed for %d failures", n)
			}
		})
	}
}

// TestReloadsLeakNothing counts descriptors and goroutines over 200 reloads that
// change listeners, servers and checks, with connections and probes under way.
func TestReloadsLeakNothing(t *testing.T) {
	r := newRig(t)
	front, extra := freeAddr(t, "127.0.0.1"), freeAddr(t, "127.0.0.2")
	var servers []plan.Server
	for i := range 3 {
		servers = append(servers, tcpServer(fmt.Sprintf("s%d", i), newBackend(t, any0("127.0.0.1"), name("s")).addr))
	}
	variant := func(i int) *plan.Plan {
		check := quick
		if i%4 == 3 {
			check.Type, check.Path = plan.CheckHTTP, "/ready"
		}
		p := lbPlan(front, check, servers[:1+i%3]...)
		if i%2 == 1 {
			p.LB.Frontends = append(p.LB.Frontends, plan.Frontend{Name: "extra", Listen: []netip.AddrPort{extra}, Backend: "back"})
		}
		return p
	}
	count := func() (goroutines, files int) {
		r.apply(variant(0))
		time.Sleep(time.Second)
		e, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(e)
	}
	r.apply(variant(1))
	_, _ = ask(front)
	g0, f0 := count()
	for i := range 200 {
		r.apply(variant(i))
		if c := r.dial(front); i%2 == 0 {
			_ = c.Close()
		} else {
			_ = c.SetLinger(0)
			_ = c.Close()
		}
	}
	g1, f1 := count()
	if g1 > g0+5 || f1 > f0+5 {
		t.Errorf("goroutines %d -> %d, descriptors %d -> %d", g0, g1, f0, f1)
	}
}

// TestUncheckedIsUp: a server that is no longer checked is up, whatever its last probe said.
func TestUncheckedIsUp(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	check := plan.Check{Type: plan.CheckTCP, Interval: time.Millisecond, Timeout: time.Second, Fall: 1, Rise: 1}
	var servers []plan.Server
	for i := range 30 {
		servers = append(servers, tcpServer(fmt.Sprint("s", i), freeAddr(t, "127.0.0.1")))
	}
	for i := range 100 {
		r.apply(lbPlan(front, check, servers...))
		time.Sleep(2 * time.Millisecond)
		r.apply(lbPlan(front, unchecked, servers...))
		time.Sleep(2 * time.Millisecond)
		for _, s := range r.lb.Table().Backends[0].Servers {
			if s.State != "up" {
				t.Fatalf("round %d: %s is %s", i, s.Name, s.State)
			}
		}
	}
}

// TestStatusOfBackends: a backend that has lost all its servers is a problem, one that never had any is not.
func TestStatusOfBackends(t *testing.T) {
	r := newRig(t)
	front, addr := freeAddr(t, "127.0.0.1"), freeAddr(t, "127.0.0.1")
	p := lbPlan(front, quick, tcpServer("s1", addr))
	r.apply(p)
	r.waitState("back", "s1", "dead")
	if st := r.lb.Status(); st.State != "up" || st.Problem != "" {
		t.Errorf("before the installation: %s, %q", st.State, st.Problem)
	}
	b := newBackend(t, addr, name("s1"))
	r.waitState("back", "s1", "up")
	if st := r.lb.Status(); st.State != "up" {
		t.Errorf("with a server: %s, %q", st.State, st.Problem)
	}
	b.close()
	r.waitState("back", "s1", "dead")
	r.apply(p) // a reload does not forget
	st := r.lb.Status()
	if st.State != "degraded" || !strings.Contains(st.Problem, "backend back") || !strings.Contains(st.Problem, "s1: connection refused") {
		t.Errorf("after it died: %s, %q", st.State, st.Problem)
	}
	newBackend(t, addr, name("s1"))
	r.waitState("back", "s1", "up")
	if st := r.lb.Status(); st.State != "up" {
		t.Errorf("when it came back: %s, %q", st.State, st.Problem)
	}
	p.LB.Backends[0].Servers[0].Weight = 0
	r.apply(p)
	if st := r.lb.Status(); st.State != "degraded" || !strings.Contains(st.Problem, "weight 0") {
		t.Errorf("with weight 0: %s, %q", st.State, st.Problem)
	}
}

// TestTotalsDoNotFall: what Status counts is since the start, whatever has left the file.
func TestTotalsDoNotFall(t *testing.T) {
	r := newRig(t)
	front, none := freeAddr(t, "127.0.0.1"), freeAddr(t, "127.0.0.1")
	r.apply(lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), name("s1")).addr)))
	_, _ = ask(front)
	r.apply(lbPlan(front, unchecked, tcpServer("gone", none)))
	_, _ = ask(front)
	p := lbPlan(front, unchecked)
	p.LB.Backends[0].Servers = nil
	p.LB.Frontends[0].Name, p.LB.Backends[0].Name, p.LB.Frontends[0].Backend = "other", "other", "other"
	r.apply(p)
	_, _ = ask(front)
	c := r.lb.Status().Counters
	if c["bytes_out"] != 2 || c["retries"] != 3 || c["no_server"] != 2 || c["connections"] != 3 {
		t.Errorf("%v", c)
	}
}
