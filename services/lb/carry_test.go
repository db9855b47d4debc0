package lb

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"helperd/plan"
)

// next gives a second balancer what the first one leaves.
func next(t *testing.T, first, second *rig) {
	t.Helper()
	var left bytes.Buffer
	if _, err := first.lb.Export(&left); err != nil {
		t.Fatal(err)
	}
	if err := second.lb.Import(&left); err != nil {
		t.Fatal(err)
	}
}

// The next process knows at once which servers are up, and goes on with the connections; those of a server that its file does not have, too.
func TestCarry(t *testing.T) {
	first, second := newRig(t), newRig(t)
	slow := quick
	slow.Interval, slow.FastInterval = time.Hour, time.Hour
	a, b := newBackend(t, any0("127.0.0.1"), echo), newBackend(t, any0("127.0.0.1"), echo)
	front, other := freeAddr(t, "127.0.0.1"), freeAddr(t, "127.0.0.2")
	first.apply(lbPlan(front, slow, tcpServer("a", a.addr), tcpServer("b", b.addr)))
	first.waitState("back", "a", "up")
	first.waitState("back", "b", "up")
	one, two := first.dial(front), first.dial(front)
	say(t, one, "x")
	say(t, two, "y")

	next(t, first, second)
	p := lbPlan(other, slow, tcpServer("a", a.addr))
	second.apply(p)
	if s := second.server("back", "a"); s.State != "up" || time.Since(s.Since) > time.Hour {
		t.Errorf("the server is %s since %s", s.State, s.Since)
	}
	for _, c := range []net.Conn{one, two} {
		say(t, c, "still here")
	}
	waitFor(t, "two connections", func() bool { return second.lb.engine.Active() == 2 })
	say(t, second.dial(other), "new")
}

// TestCarriedLoss: a backend that had lost its servers before is still a problem of the next process.
func TestCarriedLoss(t *testing.T) {
	first, second := newRig(t), newRig(t)
	b := newBackend(t, any0("127.0.0.1"), echo)
	first.apply(lbPlan(freeAddr(t, "127.0.0.1"), quick, tcpServer("a", b.addr)))
	first.waitState("back", "a", "up")
	b.close()
	first.waitState("back", "a", "dead")
	next(t, first, second)
	second.apply(lbPlan(freeAddr(t, "127.0.0.2"), quick, tcpServer("a", b.addr)))
	if st := second.lb.Status(); st.State != "degraded" {
		t.Errorf("%s: %q", st.State, st.Problem)
	}
}

func TestImportOfGarbage(t *testing.T) {
	r := newRig(t)
	for _, text := range []string{"", "garbage", strings.Repeat("\x00", 100)} {
		if err := r.lb.Import(strings.NewReader(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if _, err := r.lb.Prepare(context.Background(), &plan.Plan{}); err != nil {
		t.Error(err)
	}
}

// Connections that come before the first check wait for it. When it finds no server up they are closed at once.
func TestBeforeTheFirstCheck(t *testing.T) {
	for _, up := range []bool{true, false} {
		r := newRig(t)
		b := newBackend(t, any0("127.0.0.1"), name("hello"))
		if !up {
			b.close()
		}
		front := freeAddr(t, "127.0.0.1")
		p := lbPlan(front, quick, tcpServer("s", b.addr))
		p.LB.Backends[0].QueueTimeout = time.Minute
		r.apply(p)
		begun := time.Now()
		c := r.dial(front)
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		got, err := io.ReadAll(c)
		if want := map[bool]string{true: "hello", false: ""}[up]; err != nil || string(got) != want {
			t.Errorf("up %t: got %q, %v after %s", up, got, err, time.Since(begun))
		}
	}
}
