package lb

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/plan"
	"helperd/services/lb/engine"
	"helperd/services/lb/table"
)

// say sends msg and waits for its echo.
func say(t testing.TB, c net.Conn, msg string) {
	t.Helper()
	if err := echoed(c, msg); err != nil {
		t.Fatalf("echo of %q: %v", msg, err)
	}
}

func echoed(c net.Conn, msg string) error {
	if _, err := io.WriteString(c, msg); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, len(msg)))
	return err
}

func local(c net.Conn) netip.AddrPort { return c.LocalAddr().(*net.TCPAddr).AddrPort() }

func (r *rig) tableServer(name string) *table.Server {
	r.t.Helper()
	for _, g := range r.lb.table.Groups {
		for _, m := range g.Members {
			if m.Name == name {
				return m.Server
			}
		}
	}
	r.t.Fatalf("there is no server %q", name)
	return nil
}

func TestSessions(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), echo)
	r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
	if got := r.lb.engine.Sessions(); len(got) != 0 {
		t.Errorf("without connections: %v", got)
	}
	var conns []*net.TCPConn
	for range 20 {
		c := r.dial(front)
		say(t, c, "hello")
		conns = append(conns, c)
	}
	ids := map[uint64]bool{}
	byClient := map[netip.AddrPort]engine.Session{}
	for _, s := range r.lb.engine.Sessions() {
		ids[s.ID], byClient[s.Client] = true, s
	}
	if len(ids) != len(conns) || len(byClient) != len(conns) {
		t.Fatalf("%d connections have %d IDs and %d clients", len(conns), len(ids), len(byClient))
	}
	for _, c := range conns {
		got := byClient[local(c)]
		if got.Age < 0 || got.Age > time.Minute || got.Idle > got.Age {
			t.Errorf("age %s, idle %s", got.Age, got.Idle)
		}
		want := engine.Session{
			ID: got.ID, Client: local(c), Local: front, Frontend: "front", Backend: "back", Server: "s1", ServerAddr: b.addr,
			Phase: "open", Age: got.Age, Idle: got.Idle, In: 5, Out: 5,
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Fatal(diff)
		}
	}

	victim := byClient[local(conns[7])].ID
	if !r.lb.engine.Shutdown(victim) {
		t.Error("Shutdown did not find the session")
	}
	if _, err := conns[7].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client sees %v", err)
	}
	say(t, conns[8], "still here")
	if r.lb.engine.Shutdown(victim) {
		t.Error("Shutdown found the session twice")
	}
	c := r.dial(front)
	say(t, c, "x")
	for _, s := range r.lb.engine.Sessions() {
		if s.Client == local(c) && ids[s.ID] {
			t.Errorf("the ID %d was used again", s.ID)
		}
	}
	if n := r.lb.engine.ShutdownServer(r.tableServer("s1")); n != len(conns) {
		t.Errorf("ShutdownServer closed %d connections, want %d", n, len(conns))
	}
	waitFor(t, "no sessions", func() bool { return len(r.lb.engine.Sessions()) == 0 })
	if a := r.server("back", "s1").Active; a != 0 {
		t.Errorf("the server has %d connections", a)
	}
}

// TestSessionsWithoutServe: nobody waits for workers that do not run.
func TestSessionsWithoutServe(t *testing.T) {
	e := engine.New(engine.Options{Workers: 2})
	if got := e.Sessions(); got != nil || e.Shutdown(1) {
		t.Errorf("got %v", got)
	}
	e.Pause("front")
}

// TestPause: connections to a paused frontend wait and are served later; others do not notice.
func TestPause(t *testing.T) {
	r := newRig(t)
	front, other := freeAddr(t, "127.0.0.1"), freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), echo)
	p := lbPlan(front, unchecked, tcpServer("s1", b.addr))
	p.LB.Frontends = append(p.LB.Frontends, plan.Frontend{Name: "other", Listen: []netip.AddrPort{other}, Backend: "back"})
	r.apply(p)
	open := r.dial(front)
	say(t, open, "before")
	r.lb.engine.Pause("front")
	r.apply(p) // a reload does not end the pause
	say(t, open, "while")
	var late []*net.TCPConn
	for range 3 {
		c := r.dial(front) // the kernel takes it
		_, _ = io.WriteString(c, "x")
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a paused frontend answers: %v", err)
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		late = append(late, c)
	}
	say(t, r.dial(other), "elsewhere")
	if err := r.lb.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	r.lb.engine.Resume("front")
	for _, c := range late {
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Errorf("after Resume: %v", err)
		}
	}
}
