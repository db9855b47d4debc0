package lb

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"helperd/plan"
)

// answers asks n times and counts who answered.
func tally(t *testing.T, n int, dial func() (net.Conn, error)) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		got[string(b)]++
		_ = c.Close()
	}
	return got
}

func TestWeights(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	a, b := newBackend(t, any0("127.0.0.1"), name("a")), newBackend(t, any0("127.0.0.1"), name("b"))
	z := newBackend(t, any0("127.0.0.1"), name("z"))
	sa, sb, sz := tcpServer("a", a.addr), tcpServer("b", b.addr), tcpServer("z", z.addr)
	sa.Weight, sb.Weight, sz.Weight = 3, 1, 0
	r.apply(lbPlan(front, unchecked, sa, sb, sz))
	got := tally(t, 40, func() (net.Conn, error) { return net.Dial("tcp", front.String()) })
	if got["a"] != 30 || got["b"] != 10 {
		t.Errorf("3:1:0 gave %v", got)
	}
}

func TestSourceAffinity(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	var servers []plan.Server
	for i := range 4 {
		n := fmt.Sprintf("s%d", i)
		servers = append(servers, tcpServer(n, newBackend(t, any0("127.0.0.1"), name(n)).addr))
	}
	p := lbPlan(front, unchecked, servers...)
	p.LB.Backends[0].Balance = plan.Source
	r.apply(p)
	used := map[string]bool{}
	for client := range 20 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(client+1))}}
		got := tally(t, 3, func() (net.Conn, error) { return d.Dial("tcp", front.String()) })
		if len(got) != 1 {
			t.Errorf("client %d was sent to %v", client, got)
		}
		for n := range got {
			used[n] = true
		}
	}
	if len(used) < 3 {
		t.Errorf("20 clients use %v", used)
	}
}

func TestLeastConn(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	a, b := newBackend(t, any0("127.0.0.1"), echo), newBackend(t, any0("127.0.0.1"), echo)
	p := lbPlan(front, unchecked, tcpServer("a", a.addr), tcpServer("b", b.addr))
	p.LB.Backends[0].Balance = plan.LeastConn
	r.apply(p)
	for range 10 {
		c := r.dial(front)
		_, _ = io.WriteString(c, "x")
		_, _ = io.ReadFull(c, make([]byte, 1))
	}
	if a.conns.Load() != 5 || b.conns.Load() != 5 {
		t.Errorf("10 open connections: %d and %d", a.conns.Load(), b.conns.Load())
	}
}

// TestRedispatch: each retry goes to a server that was not tried.
func TestRedispatch(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	good := newBackend(t, any0("127.0.0.1"), name("good"))
	servers := []plan.Server{tcpServer("good", good.addr)}
	for i := range 3 {
		servers = append(servers, tcpServer(fmt.Sprintf("gone%d", i), freeAddr(t, "127.0.0.1")))
	}
	r.apply(lbPlan(front, unchecked, servers...))
	got := tally(t, 20, func() (net.Conn, error) { return net.Dial("tcp", front.String()) })
	if got["good"] != 20 {
		t.Errorf("of 20: %v", got)
	}
	if n := r.lb.Status().Counters["retries"]; n < 15 {
		t.Errorf("retries = %d", n)
	}
}

func TestAllDown(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	gone := freeAddr(t, "127.0.0.1")
	p := lbPlan(front, unchecked, tcpServer("gone", gone))
	p.LB.Retries = 1
	r.apply(p)
	begin := time.Now()
	if got, err := ask(front); got != "" || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v", got, err)
	}
	if d := time.Since(begin); d < 900*time.Millisecond || d > 4*time.Second {
		t.Errorf("one retry of a lone server took %s, want about a second", d)
	}
	r.apply(lbPlan(front, quick, tcpServer("gone", gone), tcpServer("gone2", gone)))
	r.waitState("back", "gone2", "dead")
	r.waitState("back", "gone", "dead")
	begin = time.Now()
	if got, _ := ask(front); got != "" || time.Since(begin) > 500*time.Millisecond {
		t.Errorf("with all dead: %q after %s", got, time.Since(begin))
	}
	if n := r.lb.Status().Counters["no_server"]; n == 0 {
		t.Error("no_server is not counted")
	}
}

func TestBackup(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	main, spare := newBackend(t, any0("127.0.0.1"), name("main")), newBackend(t, any0("127.0.0.1"), name("spare"))
	s := tcpServer("spare", spare.addr)
	s.Backup = true
	r.apply(lbPlan(front, quick, tcpServer("main", main.addr), s))
	r.waitState("back", "main", "up")
	r.waitState("back", "spare", "up")
	dial := func() (net.Conn, error) { return net.Dial("tcp", front.String()) }
	if got := tally(t, 4, dial); got["main"] != 4 {
		t.Errorf("with main up: %v", got)
	}
	main.close()
	r.waitState("back", "main", "dead")
	if got := tally(t, 4, dial); got["spare"] != 4 {
		t.Errorf("with main dead: %v", got)
	}
}
