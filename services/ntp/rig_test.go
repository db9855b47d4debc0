package ntp

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"helperd/internal/freeport"
	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services/ntp/clock"
	"helperd/services/ntp/packet"
	"helperd/services/servicetest"
	"helperd/timeline"
)

const (
	helperAddr = "127.0.0.2"
	nodeAddr   = "127.0.0.21"
	otherAddr  = "127.0.0.99"
	nodeName   = "w0.ocp4.example.com"
)

// fakeClock is kept as the test says.
type fakeClock struct{ state atomic.Pointer[clock.State] }

func (f *fakeClock) Read(context.Context) (clock.State, error) { return *f.state.Load(), nil }

var kept = clock.State{
	By: clock.Chronyd, Synchronised: true, Leap: 1, Stratum: 3, RefID: [4]byte{192, 0, 2, 1}, RefTime: time.Unix(1795791600, 0),
	Delay: 20 * time.Millisecond, Dispersion: 3 * time.Millisecond,
}

var free = clock.State{By: clock.Kernel, Stratum: clock.LocalStratum, RefID: [4]byte{127, 127, 1, 1}, RefTime: time.Unix(1795791600, 0)}

// rig is a running server on a loopback port, for one node.
type rig struct {
	*Service
	fuse   *guard.Fuse
	events *timeline.Timeline
	panics chan string
	clock  *fakeClock
	server netip.AddrPort
	plan   *plan.Plan
}

func newRig(t testing.TB, edit func(*rig)) *rig {
	t.Helper()
	h := servicetest.NewHost(t, t.TempDir())
	g := &rig{fuse: h.Fuse, events: h.Events, panics: h.Panics, clock: &fakeClock{}, server: freeport.On(t, helperAddr)}
	g.clock.state.Store(&kept)
	node := &plan.Node{Name: "w0", FQDN: nodeName, IP: netip.MustParseAddr(nodeAddr), Cluster: &plan.Cluster{}}
	g.plan = &plan.Plan{
		Helper: plan.Helper{Address: netip.MustParseAddr(helperAddr)}, Nodes: []*plan.Node{node},
		NTP: plan.NTP{
			Enabled: true, Listen: []netip.AddrPort{g.server}, Given: []netip.AddrPort{g.server},
			Machines: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")},
		},
	}
	if edit != nil {
		edit(g)
	}
	g.Service = newService(h.Host, g.clock)
	g.others = lookEvery
	g.apply(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return g
}

func (g *rig) apply(t testing.TB) {
	t.Helper()
	c, err := g.Prepare(t.Context(), g.plan)
	if err != nil {
		t.Fatal(err)
	}
	g.host.Events.Apply(g.plan)
	g.host.Nodes.Apply(t.Context(), g.plan)
	c.Commit()
}

// dial is a client of the server at that address.
func (g *rig) dial(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(addr)}, net.UDPAddrFromAddrPort(g.server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// request is one of version 4 whose clock is so far ahead.
func request(ahead time.Duration) []byte {
	p := make([]byte, packet.HeaderLen)
	p[0] = 4<<3 | packet.ModeClient
	now := time.Now().Add(ahead)
	packet.Stamp(p, packet.TimeOf(now.Unix(), int64(now.Nanosecond())))
	return p
}

// exchange sends p and gives the answer to it, or nil when there is none within the patience.
func exchange(t testing.TB, c *net.UDPConn, p []byte, patience time.Duration) []byte {
	t.Helper()
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 2048)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil
		}
		if len(p) < packet.HeaderLen || binary.BigEndian.Uint64(buf[24:]) == binary.BigEndian.Uint64(p[40:]) {
			return buf[:n]
		}
	}
}

// until waits for ok.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come: " + what)
		}
	}
}

// ready waits until the server answers, and its surveyor knows.
func (g *rig) ready(t testing.TB) {
	t.Helper()
	until(t, "an answer", func() bool { return g.Served(g.server) })
}
