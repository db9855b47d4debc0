package http

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"helperd/internal/freeport"
	"helperd/timeline"
)

// dial opens a connection from addr with a small receive buffer and sends request.
func (g *rig) dial(t *testing.T, addr, request string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	c, err := d.DialContext(t.Context(), "tcp", g.server.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	tcp := c.(*net.TCPConn)
	tcp.SetReadBuffer(16 << 10)
	tcp.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(tcp, request)
	return tcp
}

// What the kernel has taken and the client has not is not sent: a client that
// breaks off near the end has no rootfs and no ignition.
func TestBrokenOffAtTheEnd(t *testing.T) {
	g := newRig(t, nil)
	const size = 8 << 20
	g.put(t, "rootfs.img", size)
	g.write(t, "worker.ign", fmt.Sprintf(`{"ignition":{"version":"3.2.0"},"x":%q}`, strings.Repeat("x", 200_000)))
	g.do(t, "GET", workerAddr, "/boot/52-54-00-00-00-02.ipxe")
	for path, read := range map[string]int64{rootfsPath: size - 300_000, ignPath: 1000} {
		c := g.dial(t, workerAddr, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := io.CopyN(io.Discard, c, read); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // the server has written all by now
		c.SetLinger(0)
		c.Close()
		if e := g.seen(t, timeline.HTTPFailed, path); e.Bytes >= e.Total {
			t.Errorf("%s: event %+v", path, e)
		}
	}
	for _, e := range g.events.Since(0) {
		if e.Kind == timeline.IgnitionServed || e.Kind == timeline.HTTPGet && e.File == rootfsPath && e.Bytes == e.Total {
			t.Errorf("event %+v", e)
		}
	}
	if s := g.host.Nodes.State(g.worker); s.RootfsDone || s.IgnitionDone || !s.TokenEnd.IsZero() {
		t.Errorf("state %+v", s)
	}
}

// A client that pauses gets every byte once: sendfile goes on where a deadline stopped it.
func TestPausingClient(t *testing.T) {
	g := newRig(t, nil)
	want := sha256.Sum256(g.put(t, "rootfs.img", 24<<20))
	c := g.dial(t, workerAddr, "GET "+rootfsPath+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	time.Sleep(1300 * time.Millisecond) // longer than a tick
	resp, err := nethttp.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	io.CopyN(h, resp.Body, 7<<20)
	time.Sleep(1300 * time.Millisecond)
	n, err := io.Copy(h, resp.Body)
	if err != nil || n != 17<<20 || [32]byte(h.Sum(nil)) != want {
		t.Errorf("%d bytes more, %v; or they differ", n, err)
	}
	g.seen(t, timeline.HTTPGet, rootfsPath)
}

// Parts of a file, however many, are not the whole.
func TestManyRanges(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "rootfs.img", 2000)
	g.do(t, "GET", workerAddr, "/boot/52-54-00-00-00-02.ipxe")
	boundary := 0
	for n := 100; n < 2000; n++ { // the parts and what stands between them are as long as the file
		a := g.do(t, "GET", workerAddr, rootfsPath, fmt.Sprintf("Range: bytes=0-99,200-%d", 200+n-100))
		if a.StatusCode != 206 || !strings.HasPrefix(a.Header.Get("Content-Type"), "multipart/byteranges") {
			t.Fatalf("%s %v", a.Status, a.Header)
		}
		if len(a.body) == 2000 {
			boundary = n
		}
		if len(a.body) >= 2000 {
			break
		}
	}
	if boundary == 0 {
		t.Fatal("no answer was as long as the file: the test tests nothing")
	}
	time.Sleep(50 * time.Millisecond)
	if g.host.Nodes.State(g.worker).RootfsDone {
		t.Error("two parts of the rootfs count as the whole")
	}
	for _, e := range g.events.Since(0) {
		if e.Kind == timeline.HTTPGet && e.File == rootfsPath && e.Bytes == e.Total {
			t.Errorf("event %+v", e)
		}
	}
}

// An answer that is an error leaves the connection for the next request.
func TestKeptAfterErrors(t *testing.T) {
	g := newRig(t, nil)
	c := g.dial(t, poolAddr, "")
	r := bufio.NewReader(c)
	for _, tt := range []struct {
		request string
		status  int
	}{
		{"GET /nope", 404},
		{"HEAD /nope", 404},
		{"GET " + ignPath, 403},
		{"HEAD " + ignPath, 403},
		{"GET /sub", 404},
		{"HEAD " + kernelPath, 200},
		{"HEAD /boot/52-54-00-00-00-02.ipxe", 200},
		{"GET " + kernelPath, 200},
	} {
		method, _, _ := strings.Cut(tt.request, " ")
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\n\r\n", tt.request)
		resp, err := nethttp.ReadResponse(r, &nethttp.Request{Method: method})
		if err != nil {
			t.Fatalf("%s: %v", tt.request, err)
		}
		if io.Copy(io.Discard, resp.Body); resp.StatusCode != tt.status || resp.Close {
			t.Errorf("%s: %s, close %v", tt.request, resp.Status, resp.Close)
		}
	}
}

// Neither an address that comes later nor a flood is a reason to take a configuration back.
func TestCheckGivesNoFalseAlarm(t *testing.T) {
	g := newRig(t, nil)
	own := g.server.Addr()
	for range maxPerClient {
		g.clients.Enter(own, true)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Errorf("at the cap of an address: %v", err)
	}
	for range maxPerClient {
		g.clients.Leave(own)
	}
	for i := range maxConnections {
		g.clients.Enter(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), true)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Errorf("at the cap of all: %v", err)
	}
	for i := range maxConnections {
		g.clients.Leave(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	p := *g.plan
	p.HTTP.Listen = append(p.HTTP.Listen[:1:1], netip.MustParseAddrPort("192.0.2.77:8080"))
	g.apply(t, &p)
	if err := g.Check(t.Context()); err != nil {
		t.Errorf("an address that comes later: %v", err)
	}
}

// Reloads leave neither descriptors nor goroutines behind.
func TestReloadsLeaveNothing(t *testing.T) {
	g := newRig(t, nil)
	count := func() (fds, routines int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries), runtime.NumGoroutine()
	}
	g.do(t, "GET", poolAddr, kernelPath)
	eventually(t, "the connection has ended", func() bool { return g.clients.Open() == 0 })
	fds, routines := count()
	other := freeport.On(t, "127.0.0.2")
	for i := range 200 {
		p := *g.plan
		if i%2 == 0 {
			p.HTTP.Listen = append(p.HTTP.Listen[:1:1], other)
		}
		g.apply(t, &p)
		if i%20 == 0 {
			g.do(t, "GET", poolAddr, kernelPath)
		}
	}
	eventually(t, "as many descriptors and goroutines as before", func() bool { f, r := count(); return f <= fds && r <= routines })
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// Headers that come byte by byte are waited for as long as a header may take, and no longer.
func TestSlowHeader(t *testing.T) {
	g := newRig(t, func(g *rig) { g.header = time.Second })
	c := g.dial(t, poolAddr, "GET / HTTP/1.1\r\nX: ")
	begun := time.Now()
	for {
		if _, err := c.Write([]byte("x")); err != nil {
			return
		}
		if time.Since(begun) > 5*time.Second {
			t.Fatal("the connection lives")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
