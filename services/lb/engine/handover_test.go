package engine

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services/lb/table"
)

// running is an engine that serves front, and ends with the test or by stop.
type running struct {
	*Engine
	table *table.Table
	stop  func()
}

// runEngine gives an engine with the frontend "front" on l and servers at back, of which
// so many pipes are taken already. Without servers it knows no frontend either.
func runEngine(t *testing.T, l *net.TCPListener, pipes int, back ...netip.AddrPort) *running {
	t.Helper()
	addr := netip.MustParseAddrPort(l.Addr().String())
	p := &plan.Plan{LB: plan.LB{Enabled: true}}
	if len(back) > 0 {
		p.LB.Frontends = []plan.Frontend{{Name: "front", Backend: "back", Listen: []netip.AddrPort{addr}}}
		p.LB.Backends = []plan.Backend{{Name: "back", QueueTimeout: time.Minute}}
		for _, a := range back {
			p.LB.Backends[0].Servers = append(p.LB.Backends[0].Servers, plan.Server{Name: "s", Weight: 1, Address: a})
		}
	}
	tab, err := table.Build(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	tab.Install(time.Now())
	e := New(Options{Guard: guard.New(func(name string, v any, stack []byte) { t.Errorf("%s: %v\n%s", name, v, stack) }), Fuse: &guard.Fuse{}, Workers: 2})
	for _, w := range e.workers {
		w.pools.open = pipes
	}
	e.Swap(tab)
	if len(back) > 0 {
		e.Attach(addr, []int{descriptor(t, l)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = e.Run(ctx, func() {}) }()
	r := &running{e, tab, func() { cancel(); <-ended }}
	t.Cleanup(r.stop)
	return r
}

// carry takes the connections of one engine to another, as from one process to the next.
func carry(t *testing.T, from, to *running) int {
	t.Helper()
	list := from.Export()
	if n := from.Active(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	from.stop()
	var text bytes.Buffer
	if err := gob.NewEncoder(&text).Encode(list); err != nil {
		t.Fatal(err)
	}
	var read []Carried
	if err := gob.NewDecoder(&text).Decode(&read); err != nil {
		t.Fatal(err)
	}
	to.Import(read)
	return len(read)
}

func connect(t *testing.T, front, back *net.TCPListener) (client, server *net.TCPConn) {
	t.Helper()
	client = dialTCP(t, front.Addr())
	_ = back.SetDeadline(time.Now().Add(10 * time.Second))
	server, err := back.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	for _, c := range []*net.TCPConn{client, server} {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return client, server
}

// bulk is 8 MiB: more than the sockets on the way hold, so that bytes wait in pipes and buffers.
func bulk(seed byte) []byte {
	b := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func wantBytes(t *testing.T, what string, c *net.TCPConn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d of %d bytes, right %t, %v", what, n, len(want), bytes.Equal(got, want), err)
	}
}

func wantEnd(t *testing.T, what string, c *net.TCPConn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%s: %d bytes, %v, want the end", what, n, err)
	}
}

// Connections that are idle, busy both ways and half-closed go through two engines after the first: every byte
// arrives, FIN stays FIN and reset stays reset. The table of the last engine knows nothing of them.
func TestHandover(t *testing.T) {
	t.Run("in pipes", func(t *testing.T) { testHandover(t, 0) })
	t.Run("in buffers", func(t *testing.T) { testHandover(t, pipesMax) })
}

func testHandover(t *testing.T, pipes int) {
	front, back := listenTCP(t), listenTCP(t)
	to := netip.MustParseAddrPort(back.Addr().String())
	first := runEngine(t, front, pipes, to)
	idleC, idleS := connect(t, front, back)
	busyC, busyS := connect(t, front, back)
	halfC, halfS := connect(t, front, back)
	resetC, resetS := connect(t, front, back)
	up, down, rest := bulk(1), bulk(2), bulk(3)
	go func() { _, _ = busyC.Write(up); _ = busyC.CloseWrite() }()
	go func() { _, _ = busyS.Write(down); _ = busyS.CloseWrite() }()
	_ = halfC.CloseWrite()
	wantEnd(t, "the client's FIN", halfS)
	go func() { _, _ = halfS.Write(rest); _ = halfS.CloseWrite() }()
	wantBytes(t, "first megabyte", busyS, up[:1<<20])
	time.Sleep(100 * time.Millisecond) // the way fills up

	second := runEngine(t, front, pipes, to)
	if n := carry(t, first, second); n != 4 {
		t.Fatalf("%d connections are carried, want 4", n)
	}
	wantBytes(t, "second megabyte", busyS, up[1<<20:2<<20])
	wantBytes(t, "first megabyte down", busyC, down[:1<<20])
	active := &second.table.Groups[0].Members[0].Active // each worker adds its own when it comes to it
	for end := time.Now().Add(10 * time.Second); active.Load() != 4 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := active.Load(); n != 4 {
		t.Errorf("the server has %d connections, want 4", n)
	}
	newC, newS := connect(t, front, back) // new ones are served, too
	_, _ = io.WriteString(newC, "new")
	wantBytes(t, "new connection", newS, []byte("new"))
	_, _ = newC.Close(), newS.Close()
	for end := time.Now().Add(10 * time.Second); second.Active() != 4 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}

	third := runEngine(t, front, pipes)
	if n := carry(t, second, third); n != 4 {
		t.Fatalf("%d connections are carried, want 4", n)
	}
	wantBytes(t, "up", busyS, up[2<<20:])
	wantEnd(t, "up", busyS)
	wantBytes(t, "down", busyC, down[1<<20:])
	wantEnd(t, "down", busyC)
	wantBytes(t, "half-closed", halfC, rest)
	wantEnd(t, "half-closed", halfC)
	_, _ = io.WriteString(idleC, "ping")
	wantBytes(t, "idle", idleS, []byte("ping"))
	_ = idleS.CloseWrite()
	wantEnd(t, "idle", idleC)
	_ = resetS.SetLinger(0)
	_ = resetS.Close()
	if _, err := resetC.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
	_ = idleC.Close()
	for end := time.Now().Add(10 * time.Second); third.Active() != 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := third.Active(); n != 0 {
		t.Errorf("%d connections are left over", n)
	}
}

// A connection that waits for a server when its process ends gets one of the next
// process. No server is known yet when it comes: that is no reason to close it.
func TestHandoverBeforeConnect(t *testing.T) {
	front, back := listenTCP(t), listenTCP(t)
	to := netip.MustParseAddrPort(back.Addr().String())
	first, second := runEngine(t, front, 0, to), runEngine(t, front, 0, to)
	unchecked := *first.table.Groups[0]
	unchecked.Config.Check.Type = plan.CheckTCP
	unchecked.Members[0].Set(table.Starting, time.Now())
	unknown := *first.table
	unknown.Groups = []*table.Group{&unchecked}
	unknown.Install(time.Now())

	second.Pause("front") // it listens on the same socket
	c := dialTCP(t, front.Addr())
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "hello")
	for end := time.Now().Add(10 * time.Second); first.table.Groups[0].Queued.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection does not wait")
		}
	}
	carry(t, first, second)
	_ = back.SetDeadline(time.Now().Add(10 * time.Second))
	s, err := back.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantBytes(t, "the server", s, []byte("hello"))
}
