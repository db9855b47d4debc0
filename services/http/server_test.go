package http

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"helperd/internal/freeport"
	"helperd/services"
	"helperd/timeline"
)

func TestOddRequests(t *testing.T) {
	g := newRig(t, nil)
	tests := []struct {
		name, request string
		status        int
	}{
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400},
		{"a body", "GET " + kernelPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 400},
		{"a body that never comes", "GET " + kernelPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", 400},
		{"chunks", "GET " + kernelPath + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"length and chunks", "GET " + kernelPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"a large header", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", maxHeader) + "\r\n\r\n", 431},
		{"a header within the limit", "GET " + kernelPath + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + strings.Repeat("a", maxHeader-1000) + "\r\n\r\n", 200},
		{"HTTP/1.0", "GET " + kernelPath + " HTTP/1.0\r\n\r\n", 200},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405},
		{"proxy form", "GET http://evil.example.com" + kernelPath + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200},
		{"CONNECT", "CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", 405},
		{"star", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405},
		{"no HTTP", "hello\r\n\r\n", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if a := g.raw(t, poolAddr, tt.request); a.StatusCode != tt.status {
				t.Errorf("%s, want %d", a.Status, tt.status)
			}
		})
	}
}

// What stands behind a request with a body is not taken for the next one.
func TestNoSmuggling(t *testing.T) {
	g := newRig(t, nil)
	c, err := net.Dial("tcp", g.server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "GET /.well-known/helperd HTTP/1.1\r\nHost: x\r\nContent-Length: 44\r\n\r\nGET %s HTTP/1.1\r\nHost: x\r\n\r\n", kernelPath)
	all, _ := io.ReadAll(c)
	if n := strings.Count(string(all), "HTTP/1.1 "); n != 1 {
		t.Errorf("%d answers", n)
	}
}

// A client that takes nothing is cut, one that takes little is not.
func TestStall(t *testing.T) {
	g := newRig(t, func(g *rig) { g.stall = 1500 * time.Millisecond })
	g.put(t, "rootfs.img", 64<<20)
	open := func() net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(workerAddr)}}
		c, err := d.DialContext(t.Context(), "tcp", g.server.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.(*net.TCPConn).SetReadBuffer(64 << 10)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", rootfsPath)
		return c
	}
	slow := open()
	buf := make([]byte, 1<<20)
	for range 12 {
		if _, err := io.ReadFull(slow, buf); err != nil {
			t.Fatalf("the slow client was cut: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	slow.Close()
	open()
	eventually(t, "the client that takes nothing is cut", func() bool {
		for _, e := range g.events.Since(0) {
			if e.Kind == timeline.HTTPFailed && strings.Contains(e.Detail, "less than 64 KiB in 1.5s") {
				return e.Bytes > 0 && e.Bytes < e.Total && e.Node == g.worker.FQDN
			}
		}
		return false
	})
}

func TestDateOfAClient(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "rootfs.img", 1<<10)
	g.host.Nodes.Apply(t.Context(), g.plan)
	g.do(t, "GET", workerAddr, rootfsPath, "Date: Sun, 06 Nov 1994 08:49:37 GMT")
	e := g.seen(t, timeline.ClockWrong, "")
	if e.Node != g.worker.FQDN || !strings.Contains(e.Detail, "years behind") {
		t.Errorf("%+v", e)
	}
}

func TestProgress(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "rootfs.img", 64<<20)
	resp, err := from(workerAddr).Get("http://" + g.server.String() + rootfsPath)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	half := false
	for {
		if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
			break
		}
		if time.Since(begun) < 1500*time.Millisecond {
			time.Sleep(100 * time.Millisecond)
		}
		if s := g.events.Story(g.worker.FQDN); s.Stage == timeline.Rootfs && strings.HasPrefix(s.Progress, "rootfs ") {
			half = true
		}
	}
	resp.Body.Close()
	if !half {
		t.Error("the story never said how far the download is")
	}
	eventually(t, "the download is whole", func() bool { e := g.seen(t, timeline.HTTPGet, rootfsPath); return e.Bytes == e.Total })
}

// A file that shrinks while it is sent is a broken download, not a short file.
func TestShrinkingFile(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "rootfs.img", 64<<20)
	resp, err := from(workerAddr).Get("http://" + g.server.String() + rootfsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := os.Truncate(filepath.Join(g.dir, "rootfs.img"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the client took the part for the whole")
	}
	if e := g.seen(t, timeline.HTTPFailed, rootfsPath); !strings.Contains(e.Detail, "shorter") {
		t.Errorf("event %+v", e)
	}
	if g.host.Nodes.State(g.worker).RootfsDone {
		t.Error("half a rootfs counts")
	}
}

func TestConnectionCap(t *testing.T) {
	g := newRig(t, nil)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(poolAddr)}}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range maxPerClient {
		c, err := d.DialContext(t.Context(), "tcp", g.server.String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	eventually(t, "all are counted", func() bool { return g.clients.Open() == maxPerClient })
	// The one over the cap is cut, maybe before the dial has returned.
	if last, err := d.DialContext(t.Context(), "tcp", g.server.String()); err == nil {
		last.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := last.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("the connection over the cap lives: %v", err)
		}
		last.Close()
	}
	if a := g.do(t, "GET", workerAddr, kernelPath); a.StatusCode != 200 {
		t.Errorf("another client: %s", a.Status)
	}
	for _, c := range conns {
		c.Close()
	}
	conns = nil
	eventually(t, "no connection is counted", func() bool { return g.clients.Open() == 0 })
}

// Requests while the configuration changes are all answered, and connections live on.
func TestReloadUnderLoad(t *testing.T) {
	g := newRig(t, nil)
	want := string(g.put(t, "vmlinuz", 300_000))
	resp, err := from(workerAddr).Get("http://" + g.server.String() + rootfsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var done atomic.Int64
	for i := range 6 {
		wg.Go(func() {
			client := from(poolAddr)
			client.Transport.(*nethttp.Transport).DisableKeepAlives = i%2 == 0
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := client.Get("http://" + g.server.String() + kernelPath)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(body) != want {
					t.Errorf("%d bytes, %v", len(body), err)
					return
				}
				done.Add(1)
			}
		})
	}
	other := freeport.On(t, "127.0.0.2")
	for i := range 20 {
		p := *g.plan
		if i%2 == 0 {
			p.HTTP.Listen = append(p.HTTP.Listen[:1:1], other)
		}
		g.apply(t, &p)
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if done.Load() == 0 {
		t.Error("no request was made")
	}
	moved := *g.plan
	moved.HTTP.Listen = []netip.AddrPort{other}
	g.apply(t, &moved)
	if err := g.Check(t.Context()); err != nil {
		t.Errorf("at the new address: %v", err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != 3<<20 {
		t.Errorf("the download from before: %d bytes, %v", n, err)
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	g := newRig(t, nil)
	running, err := from(workerAddr).Get("http://" + g.server.String() + rootfsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Body.Close()
	g.fuse.Arm()
	if a := g.do(t, "GET", poolAddr, kernelPath); a.StatusCode != 500 {
		t.Errorf("the request of the panic: %s", a.Status)
	}
	select {
	case <-g.panics:
	case <-time.After(time.Second):
		t.Fatal("no panic was reported")
	}
	if a := g.do(t, "GET", poolAddr, kernelPath); a.StatusCode != 200 {
		t.Errorf("the next request: %s", a.Status)
	}
	if n, err := io.Copy(io.Discard, running.Body); err != nil || n != 3<<20 {
		t.Errorf("the download beside it: %d bytes, %v", n, err)
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
	c, err := net.Dial("tcp", g.server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := *g.plan
	p.HTTP.Enabled = false
	g.apply(t, &p)
	if err := g.Check(ctx); err != nil {
		t.Errorf("disabled: %v", err)
	}
	if s := g.Status(); s.State != services.Disabled {
		t.Errorf("status %+v", s)
	}
	// An open connection is told; it would wait otherwise.
	c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, err := nethttp.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode != 503 {
		t.Errorf("on an open connection: %s", resp.Status)
	}
}

// A stop takes no new connection and lets a download come to its end.
func TestDrain(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "rootfs.img", 16<<20)
	resp, err := from(workerAddr).Get("http://" + g.server.String() + rootfsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	g.stop()
	time.Sleep(50 * time.Millisecond)
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(len(want)) {
		t.Errorf("%d bytes, %v", n, err)
	}
}
