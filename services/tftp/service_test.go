package tftp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	pin "github.com/pin/tftp/v3"

	"helperd/internal/freeport"
	"helperd/plan"
	"helperd/services"
	"helperd/services/tftp/packet"
)

// get fetches a file in lock step.
func (g *rig) get(t *testing.T, file string) []byte {
	t.Helper()
	w := g.dial(t)
	w.ask(packet.OpRead, file, "octet")
	return w.fetch(512, 1, nil)
}

// Transfers that run while the configuration changes lose nothing, and the
// address that is gone afterwards still ends what it began.
func TestReloadDuringTransfers(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 400_000)
	moved := *g.plan
	other := freeport.On(t, "127.0.0.1")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := pin.NewClient(g.server.String())
				if err != nil {
					t.Error(err)
					return
				}
				c.SetRetries(1) // a lost request fails
				from, err := c.Receive("f", "octet")
				if err != nil {
					t.Error(err)
					return
				}
				var got bytes.Buffer
				if _, err := from.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
					t.Errorf("%d bytes, %v", got.Len(), err)
					return
				}
			}
		})
	}
	for i := range 20 {
		p := *g.plan
		if i%2 == 1 {
			p.TFTP.Listen = append(p.TFTP.Listen[:1:1], other)
		}
		g.apply(t, &p)
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet", "blksize", "1468", "windowsize", "4")
	w.oack()
	moved.TFTP.Listen = append(moved.TFTP.Listen[:0:0], other)
	g.apply(t, &moved)
	w.ack(0)
	if got := w.fetch(1468, 4, nil); !bytes.Equal(got, want) {
		t.Errorf("after the address moved: %d bytes", len(got))
	}
	w.server = other
	w.ask(packet.OpRead, "f", "octet")
	w.data(1)
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 200_000)
	running := g.dial(t)
	running.ask(packet.OpRead, "f", "octet")
	running.data(1)
	g.fuse.Arm()
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet")
	select {
	case <-g.panics:
	case <-time.After(time.Second):
		t.Fatal("no panic was reported")
	}
	w.ask(packet.OpRead, "f", "octet") // the client repeats its request
	if got := w.fetch(512, 1, nil); !bytes.Equal(got, want) {
		t.Errorf("after the panic: %d bytes", len(got))
	}
	running.ack(1)
	running.data(2)
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCheckAndStatus(t *testing.T) {
	g := newRig(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := g.Check(ctx); err != nil {
		t.Error(err)
	}
	if s := g.Status(); s.State != services.Up || len(s.Listeners) != 1 || !s.Listeners[0].Bound {
		t.Errorf("status %+v", s)
	}
	if events := g.events.Since(0); len(events) > 0 {
		t.Errorf("the check left a trace: %+v", events)
	}
	p := *g.plan
	p.TFTP.Enabled = false
	g.apply(t, &p)
	if err := g.Check(ctx); err != nil {
		t.Errorf("disabled: %v", err)
	}
	if s := g.Status(); s.State != services.Disabled {
		t.Errorf("status %+v", s)
	}
}

// A packet that is lost, or an address that is not there yet, is no reason to
// take a configuration back.
func TestCheckGivesNoFalseAlarm(t *testing.T) {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		in := make([]byte, 600)
		for i := 0; ; i++ {
			_, from, err := server.ReadFromUDPAddrPort(in)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if i > 0 { // the first is lost
				server.WriteToUDPAddrPort(packet.ErrNotFound.Bytes(), from)
			}
		}
	}()
	if err := ask(t.Context(), server.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Errorf("after one lost packet: %v", err)
	}
	if err := ask(t.Context(), netip.MustParseAddrPort("192.0.2.77:69")); err != nil {
		t.Errorf("an address that comes later: %v", err)
	}
}

func TestPrepareTakesAndGivesBack(t *testing.T) {
	g := newRig(t, nil)
	p := *g.plan
	other := freeport.On(t, "127.0.0.1")
	p.TFTP.Listen = append(p.TFTP.Listen[:1:1], other)
	c, err := g.Prepare(t.Context(), &p)
	if err != nil {
		t.Fatal(err)
	}
	c.Discard()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := ask(ctx, other); err == nil {
		t.Error("the discarded address answers")
	}
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// A stop takes no new request and lets what runs come to its end.
func TestDrain(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 100_000)
	w, late := g.dial(t), g.dial(t)
	w.ask(packet.OpRead, "f", "octet", "windowsize", "4")
	w.oack()
	g.stop()
	time.Sleep(50 * time.Millisecond)
	late.ask(packet.OpRead, "f", "octet")
	late.silence(50 * time.Millisecond)
	w.ack(0)
	if got := w.fetch(512, 4, nil); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

// A port that somebody else holds is named, and taken when it is free.
func TestPortHeld(t *testing.T) {
	var other *net.UDPConn
	g := newRig(t, func(p *plan.Plan) {
		var err error
		if other, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(p.TFTP.Listen[0])); err != nil {
			t.Fatal(err)
		}
	})
	g.put(t, "f", 100)
	if s := g.Status(); s.State != services.Degraded || !strings.Contains(s.Problem, "is held by") {
		t.Errorf("status %+v", s)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Errorf("while the port is held: %v", err)
	}
	other.Close()
	for range 300 {
		if g.Status().State == services.Up {
			g.get(t, "f")
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("status %+v", g.Status())
}
