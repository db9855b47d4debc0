package tftp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	pin "github.com/pin/tftp/v3"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/services/tftp/packet"
	"helperd/timeline"
)

// A stranger who knows the port of a transfer gets nothing and disturbs nobody.
func TestStranger(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w, stranger := g.dial(t), g.dial(t)
	w.ask(packet.OpRead, "f", "octet")
	w.data(1)
	stranger.raw(w.tid, []byte{0, packet.OpACK, 0, 1})
	stranger.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
	stranger.silence(100 * time.Millisecond)
	w.silence(10 * time.Millisecond)
	w.ack(1)
	w.data(2)
}

// A client that repeats its request before our answer arrived has one transfer.
func TestRepeatedRequest(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	g.put(t, "g", 700)
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet")
	w.ask(packet.OpRead, "f", "octet")
	w.data(1)
	w.silence(100 * time.Millisecond)
	tid := w.tid
	w.ack(1)
	w.data(2)
	w.ask(packet.OpRead, "g", "octet") // another file from the same port: the first is given up
	w.data(1)
	if w.tid == tid {
		t.Error("the new transfer has the port of the old one")
	}
	w.ack(1)
	w.data(2)
	w.ack(2)
	w.silence(1200 * time.Millisecond) // longer than the first transfer would wait
}

func TestClientGone(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet")
	w.data(1)
	w.ack(1)
	w.data(2)
	w.conn.Close()
	e := g.seen(t, timeline.TFTPFailed, "/f")
	if e.Bytes != 512 || e.Total != 5000 || !strings.Contains(e.Detail, "closed its port") {
		t.Errorf("event %+v", e)
	}
}

func TestClientStops(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet")
	w.data(1)
	w.ack(1)
	w.data(2)
	w.raw(w.tid, []byte("\x00\x05\x00\x03disk full\x1b[31m\x00"))
	e := g.seen(t, timeline.TFTPFailed, "/f")
	if want := "the client stopped the transfer: error 3: disk full?[31m"; e.Detail != want {
		t.Errorf("event says %q, want %q", e.Detail, want)
	}
}

func TestCaps(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	for range maxPerClient {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet")
		w.data(1)
	}
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet")
	w.refusal(packet.CodeUndefined)
	other := g.dialFrom(t, "127.0.0.2")
	other.ask(packet.OpRead, "f", "octet")
	other.data(1)
	other.ack(1)
	other.data(2)
}

// The answer comes from the address that was asked, also on a wildcard socket.
func TestAnswersFromAskedAddress(t *testing.T) {
	g := newRig(t, func(p *plan.Plan) {
		p.TFTP.Listen[0] = netip.AddrPortFrom(netip.IPv4Unspecified(), p.TFTP.Listen[0].Port())
	})
	g.put(t, "f", 100)
	w := g.dial(t)
	w.server = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.7"), g.server.Port())
	w.ask(packet.OpRead, "f", "octet")
	w.data(1)
	if w.tid.Addr() != w.server.Addr() {
		t.Errorf("asked %v, answered by %v", w.server, w.tid)
	}
}

func TestIPv6(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		netns.SkipOrFail(t, "no IPv6 here: "+err.Error())
	}
	addr := c.LocalAddr().(*net.UDPAddr).AddrPort()
	c.Close()
	g := newRig(t, func(p *plan.Plan) { p.TFTP.Listen = []netip.AddrPort{addr} })
	want := g.put(t, "f", 50_000)
	w := g.dialFrom(t, "::1")
	w.server = addr
	w.ask(packet.OpRead, "f", "octet", "blksize", "1400", "windowsize", "8")
	w.oack()
	w.ack(0)
	if got := w.fetch(1400, 8, nil); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
	}
}

// Clients that break off leave nothing behind.
func TestAbortedTransfersLeaveNothing(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "small", 5000)
	g.put(t, "large", cacheLargest+1)
	w := g.dial(t)
	w.ask(packet.OpRead, "small", "octet")
	w.data(1)
	w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
	idle := func() bool { return g.jobs.running() == 0 }
	wait := func(what string, holds func() bool) {
		t.Helper()
		for range 500 {
			if holds() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("never: %s; %d descriptors, %d goroutines", what, descriptors(t), runtime.NumGoroutine())
	}
	wait("idle", idle)
	fds, routines := descriptors(t), runtime.NumGoroutine()
	for i := range 500 {
		w := g.dialFrom(t, fmt.Sprintf("127.0.%d.%d", 1+i/250, 1+i%250)) // so that no port is used twice
		w.ask(packet.OpRead, []string{"small", "large"}[i%2], "octet", "tsize", "0", "windowsize", "4")
		w.oack()
		switch i % 3 {
		case 0:
			w.raw(w.tid, []byte{0, packet.OpError, 0, 8, 0})
		case 1:
			w.ack(0)
			w.data(1)
			w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
		case 2:
			w.ack(0)
		}
		w.conn.Close()
	}
	wait("all have ended", idle)
	wait("as many descriptors and goroutines as before", func() bool { return descriptors(t) <= fds && runtime.NumGoroutine() <= routines })
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func TestPinClient(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 1_000_001)
	for _, block := range []int{512, 1468, 8192} {
		c, err := pin.NewClient(g.server.String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetBlockSize(block)
		c.RequestTSize(true)
		from, err := c.Receive("f", "octet")
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := from.(pin.IncomingTransfer).Size(); !ok || n != int64(len(want)) {
			t.Errorf("tsize %d, %v", n, ok)
		}
		var got bytes.Buffer
		if _, err := from.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("blksize %d: %d bytes, %v", block, got.Len(), err)
		}
	}
	c, err := pin.NewClient(g.server.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send("f", "octet"); err == nil {
		t.Error("a write was allowed")
	}
}

func TestRealClients(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "dir/f", 300_007)
	out := filepath.Join(t.TempDir(), "out")
	host, port := g.server.Addr().String(), g.server.Port()
	for name, args := range map[string][]string{
		"tftp": {host, strconv.Itoa(int(port)), "-m", "binary", "-c", "get", "dir/f", out},
		"curl": {"-sS", "-o", out, "--tftp-blksize", "1400", "tftp://" + g.server.String() + "//dir/f"},
	} {
		t.Run(name, func(t *testing.T) {
			netns.Tools(t, name)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if text, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}
