package lb

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestRemovedServerDrains: a server that leaves the file gets no new connections and keeps its open ones.
func TestRemovedServerDrains(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	old, next := newBackend(t, any0("127.0.0.1"), echo), newBackend(t, any0("127.0.0.1"), name("next"))
	r.apply(lbPlan(front, quick, tcpServer("old", old.addr)))
	r.waitState("back", "old", "up")
	c := r.dial(front)
	talk := func() {
		t.Helper()
		_, _ = io.WriteString(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	talk()
	r.apply(lbPlan(front, quick, tcpServer("next", next.addr)))
	r.waitState("back", "next", "up")
	talk()
	if got, err := ask(front); got != "next" {
		t.Errorf("new connection: %q, %v", got, err)
	}
	talk()
}

// TestServeAgain: the supervisor may end Serve and start it again.
func TestServeAgain(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	host := r.host
	host.Metrics = prometheus.NewRegistry()
	s := New(host)
	c, err := s.Prepare(t.Context(), lbPlan(front, quick, tcpServer("s1", newBackend(t, any0("127.0.0.1"), name("s1")).addr)))
	if err != nil {
		t.Fatal(err)
	}
	c.Commit()
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check before Serve: %v", err)
	}
	for round := range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.Serve(ctx)
		}()
		waitFor(t, "an answer", func() bool { got, _ := ask(front); return got == "s1" })
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		cancel()
		<-done
		if n := s.engine.Active(); n != 0 {
			t.Errorf("round %d leaves %d connections", round, n)
		}
	}
}

// TestMetrics: what Prometheus gets is consistent.
func TestMetrics(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	r.apply(lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), name("s1")).addr)))
	if _, err := ask(front); err != nil {
		t.Fatal(err)
	}
	families, err := r.host.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	for name, want := range map[string]float64{
		"helperd_lb_frontend_connections_total": 1, "helperd_lb_server_up": 1, "helperd_lb_server_connections_total": 1,
		"helperd_lb_server_sent_bytes_total": 2,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

// TestPanicDuringBulk: events that a panicking worker had not handled yet are not lost, and no byte is.
func TestPanicDuringBulk(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	r.apply(lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), echo).addr)))
	data := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(data)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			c, err := net.Dial("tcp", front.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			all.Go(func() {
				for rest := data; len(rest) > 0; time.Sleep(time.Millisecond) {
					n, err := c.Write(rest[:min(len(rest), 100<<10)])
					if err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
				_ = c.(*net.TCPConn).CloseWrite()
			})
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
			}
		})
	}
	for round := range uint64(4) {
		r.host.Fuse.Arm()
		waitFor(t, "a panic", func() bool {
			_ = r.dial(front).Close() // an event, also when all is done already
			return r.host.Guard.Panics() > round
		})
	}
	all.Wait()
}
