package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"helperd/internal/freeport"
	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services"
	"helperd/services/servicetest"
	"helperd/services/tftp/packet"
	"helperd/timeline"
)

// rig is a running server on a loopback port.
type rig struct {
	*Service
	host   services.Host
	fuse   *guard.Fuse
	events *timeline.Timeline
	server netip.AddrPort
	plan   *plan.Plan
	dir    string
	panics chan string
	stop   context.CancelFunc // ends Serve
}

// newRig serves the files of dir root, and p with what edit makes of it.
func newRig(t *testing.T, edit func(*plan.Plan)) *rig {
	t.Helper()
	dir := t.TempDir()
	g := &rig{dir: dir}
	h := servicetest.NewHost(t, dir)
	g.host, g.fuse, g.events, g.panics = h.Host, h.Fuse, h.Events, h.Panics
	g.Service = New(g.host)
	g.server = freeport.On(t, "127.0.0.1")
	g.plan = &plan.Plan{}
	g.plan.TFTP = plan.TFTP{Enabled: true, Listen: []netip.AddrPort{g.server}, Root: filepath.Join(dir, "root")}
	if err := os.Mkdir(g.plan.TFTP.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(g.plan)
	}
	g.apply(t, g.plan)
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx) }()
	t.Cleanup(func() {
		g.jobs.stopAll()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return g
}

func (g *rig) apply(t *testing.T, p *plan.Plan) {
	t.Helper()
	c, err := g.Prepare(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	g.events.Apply(p)
	c.Commit()
}

// put writes a file of n bytes that differ everywhere, and gives them.
func (g *rig) put(t *testing.T, name string, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	g.write(t, name, b)
	return b
}

func (g *rig) write(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join(g.plan.TFTP.Root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// seen waits for an event of a kind about a file, and gives the last one.
func (g *rig) seen(t *testing.T, kind timeline.Kind, file string) timeline.Event {
	t.Helper()
	for range 200 {
		for _, e := range slices.Backward(g.events.Since(0)) {
			if e.Kind == kind && e.File == file {
				return e
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no event %s of %s in %+v", kind, file, g.events.Since(0))
	return timeline.Event{}
}

// wire is a client that sends and takes single packets.
type wire struct {
	t      *testing.T
	conn   *net.UDPConn
	server netip.AddrPort
	tid    netip.AddrPort // of the server, from its first answer
}

func (g *rig) dial(t *testing.T) *wire { return g.dialFrom(t, "127.0.0.1") }

func (g *rig) dialFrom(t *testing.T, ip string) *wire {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadBuffer(1 << 20)
	t.Cleanup(func() { c.Close() })
	return &wire{t: t, conn: c, server: g.server}
}

// ask sends a request of fields, each ended by a NUL.
func (w *wire) ask(op byte, fields ...string) {
	w.t.Helper()
	p := []byte{0, op}
	for _, f := range fields {
		p = append(append(p, f...), 0)
	}
	w.raw(w.server, p)
}

func (w *wire) raw(to netip.AddrPort, p []byte) {
	w.t.Helper()
	if _, err := w.conn.WriteToUDPAddrPort(p, to); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) ack(n uint16) {
	w.t.Helper()
	w.raw(w.tid, []byte{0, packet.OpACK, byte(n >> 8), byte(n)})
}

// next takes one packet; nil: none within d.
func (w *wire) next(d time.Duration) []byte {
	w.t.Helper()
	w.conn.SetReadDeadline(time.Now().Add(d))
	b := make([]byte, 65536)
	n, from, err := w.conn.ReadFromUDPAddrPort(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.tid = from
	return b[:n]
}

const soon = 3 * time.Second

// data takes a DATA packet of a given number.
func (w *wire) data(number uint16) []byte {
	w.t.Helper()
	p := w.next(soon)
	if len(p) < 4 || p[1] != packet.OpData || binary.BigEndian.Uint16(p[2:]) != number {
		w.t.Fatalf("got %.40q, want DATA %d", p, number)
	}
	return p[4:]
}

// oack takes an OACK and gives its fields.
func (w *wire) oack() []string {
	w.t.Helper()
	p := w.next(soon)
	if len(p) < 2 || p[1] != packet.OpOACK {
		w.t.Fatalf("got %.40q, want an OACK", p)
	}
	var out []string
	for _, f := range bytes.Split(bytes.TrimSuffix(p[2:], []byte{0}), []byte{0}) {
		out = append(out, string(f))
	}
	return out
}

// refusal takes an ERROR packet.
func (w *wire) refusal(code uint16) string {
	w.t.Helper()
	p := w.next(soon)
	if len(p) < 5 || p[1] != packet.OpError || p[len(p)-1] != 0 || binary.BigEndian.Uint16(p[2:]) != code {
		w.t.Fatalf("got %.80q, want ERROR %d", p, code)
	}
	return string(p[4 : len(p)-1])
}

// silence fails if a packet comes within d.
func (w *wire) silence(d time.Duration) {
	w.t.Helper()
	if p := w.next(d); p != nil {
		w.t.Fatalf("got %.40q, want silence", p)
	}
}

// fetch reads a whole file by windows of n blocks; lose says which packets, counted from 0, never arrive.
func (w *wire) fetch(block, window int, lose func(packet int) bool) []byte {
	w.t.Helper()
	var got []byte
	expect, inWindow, packets := uint16(1), 0, 0
	for {
		p := w.next(soon)
		if len(p) > 1 && p[1] == packet.OpOACK && packets == 0 { // ours came late: the machine is busy
			w.ack(0)
			continue
		}
		if len(p) < 4 || p[1] != packet.OpData {
			w.t.Fatalf("got %.40q after %d bytes, want DATA", p, len(got))
		}
		packets++
		if lose != nil && lose(packets-1) {
			continue
		}
		if n := binary.BigEndian.Uint16(p[2:]); n != expect {
			// A gap: say what is here, once (RFC 7440 section 4).
			if inWindow >= 0 && int16(n-expect) > 0 {
				w.ack(expect - 1)
				inWindow = -1 << 30
			}
			continue
		}
		inWindow = max(inWindow, 0) + 1
		got = append(got, p[4:]...)
		expect++
		last := len(p)-4 < block
		if inWindow == window || last {
			w.ack(expect - 1)
			inWindow = 0
		}
		if last {
			return got
		}
	}
}
