package ui

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"helperd/internal/freeport"
	"helperd/plan"
	"helperd/services"
	"helperd/services/lb/stats"
	"helperd/services/servicetest"
)

// balancer is one with rows that are made up, and counts who asks for them.
type balancer struct{ asked *atomic.Int64 }

func (b balancer) Stats() []stats.Stat {
	b.asked.Add(1)
	return []stats.Stat{
		{"type": "0", "pxname": "ocp4-api", "svname": "FRONTEND", "status": "OPEN", "scur": "12345", "bin": "1048576"},
		{"type": "2", "pxname": "ocp4-api", "svname": "<script>alert(1)</script>", "status": "DOWN", "check_status": "L4CON", "last_chk": "connection refused", "lastchg": "61"},
		{"type": "2", "pxname": "ocp4-api", "svname": "master-1", "status": "UP", "bck": "1", "lastchg": "90000", "downtime": "3700"},
		{"type": "1", "pxname": "ocp4-api", "svname": "BACKEND", "status": "UP", "algo": "roundrobin"},
		{"type": "1", "pxname": "empty", "svname": "BACKEND", "status": "UP"},
	}
}

func (b balancer) WriteStats(w io.Writer) error {
	b.asked.Add(1)
	_, err := io.WriteString(w, "# pxname,svname,\nocp4-api,FRONTEND,\n")
	return err
}

type rig struct {
	*Service
	t     *testing.T
	asked *atomic.Int64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	h := servicetest.NewHost(t, t.TempDir())
	asked := &atomic.Int64{}
	r := &rig{New(h.Host, balancer{asked}), t, asked}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Serve(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if s := r.socket.Load(); s != nil {
			s.Release()
		}
	})
	return r
}

func (r *rig) listen(a netip.AddrPort) {
	r.t.Helper()
	c, err := r.Prepare(r.t.Context(), &plan.Plan{Admin: plan.Admin{Listen: a}})
	if err != nil {
		r.t.Fatal(err)
	}
	c.Commit()
}

// raw sends a request line and gives status, headers and body.
func raw(t *testing.T, to netip.AddrPort, method, target string) (*http.Response, string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "%s %s HTTP/1.0\r\nHost: x\r\n\r\n", method, target)
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(method, "http://x/", nil)
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), req)
	if err != nil {
		t.Fatalf("%v: %.100q", err, b)
	}
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

func TestPages(t *testing.T) {
	r := newRig(t)
	at := freeport.On(t, "127.0.0.1")
	r.listen(at)
	const html, csv, none = "text/html; charset=utf-8", "text/plain; charset=utf-8", "text/plain; charset=utf-8"
	for _, tt := range []struct {
		method, target string
		status         int
		kind, has      string
	}{
		{"GET", "/", 200, html, "<th scope=\"row\">ocp4-api</th>"},
		{"HEAD", "/", 200, html, ""},
		{"GET", "/;csv", 200, csv, "# pxname,"},
		{"HEAD", "/;csv", 200, csv, ""},
		{"GET", "/stats;csv", 200, csv, "# pxname,"},
		{"GET", "/haproxy?stats;csv", 200, csv, "# pxname,"},
		{"GET", "/haproxy_stats?stats;csv", 200, csv, "# pxname,"},
		{"GET", "/style.css", 200, "text/css; charset=utf-8", "body {"},
		{"GET", "/page.html", 404, none, "/;csv"},
		{"GET", "/../etc/passwd", 404, none, ""},
		{"GET", "//", 404, none, ""},
		{"POST", "/", 405, none, "command line"},
		{"DELETE", "/;csv", 405, none, "command line"},
		{"OPTIONS", "*", 405, none, ""},
	} {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			resp, body := raw(t, at, tt.method, tt.target)
			if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != tt.kind || !strings.Contains(body, tt.has) {
				t.Errorf("%s %s: %.300s", resp.Status, resp.Header.Get("Content-Type"), body)
			}
			if tt.method == "HEAD" && body != "" {
				t.Errorf("a body: %.100q", body)
			}
			for _, h := range []string{"X-Content-Type-Options", "X-Frame-Options", "Content-Security-Policy", "Referrer-Policy", "Cache-Control"} {
				if resp.Header.Get(h) == "" {
					t.Errorf("no header %s", h)
				}
			}
		})
	}
	_, body := raw(t, at, "GET", "/")
	for _, want := range []string{
		"(1 down) helperd", "1 server is down", "&lt;script&gt;", "12\u202f345", "1.0 MiB", "1 d 1 h", "1 h 1 min", "connection refused", "There is no server yet", "<small>backup</small>", `http-equiv="refresh"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "http://") || strings.Contains(body, "https://") {
		t.Error("the page has scripts or loads from elsewhere")
	}
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if st := r.Status(); st.State != services.Up || len(st.Listeners) != 1 {
		t.Errorf("%+v", st)
	}
}

// TestMove: another address takes over, the same one is not touched, and none is none.
func TestMove(t *testing.T) {
	r := newRig(t)
	if st := r.Status(); st.State != services.Disabled || r.Check(t.Context()) != nil {
		t.Errorf("%+v", st)
	}
	one, two := freeport.On(t, "127.0.0.1"), freeport.On(t, "127.0.0.1")
	r.listen(one)
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: 10 * time.Second}
	ask := func(a netip.AddrPort) error {
		resp, err := client.Get("http://" + a.String() + "/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	for range 3 {
		if err := ask(one); err != nil {
			t.Fatal(err)
		}
		r.listen(one)
	}
	r.listen(two)
	if err := ask(two); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", one.String())
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(end) {
			t.Fatal("the old address still listens")
		}
	}
}

// TestHeader: a header without end is cut by size.
func TestHeader(t *testing.T) {
	r := newRig(t)
	at := freeport.On(t, "127.0.0.1")
	r.listen(at)
	resp, _ := raw(t, at, "GET", "/?"+strings.Repeat("a", 2*maxHeader))
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(resp.Status)
	}
}

// TestFlood: who asks again and again costs no more than who asks once a second.
func TestFlood(t *testing.T) {
	r := newRig(t)
	at := freeport.On(t, "127.0.0.1")
	r.listen(at)
	begun := time.Now()
	for range 50 {
		for _, target := range []string{"/", "/;csv"} {
			if resp, body := raw(t, at, "GET", target); resp.StatusCode != 200 || body == "" {
				t.Fatalf("%s: %s", target, resp.Status)
			}
		}
	}
	if n, most := r.asked.Load(), 2*int64(1+time.Since(begun)/fresh); n > most {
		t.Errorf("the balancer was asked %d times, want at most %d", n, most)
	}
}

// TestOneClient: an address has its share of the connections.
func TestOneClient(t *testing.T) {
	r := newRig(t)
	at := freeport.On(t, "127.0.0.1")
	r.listen(at)
	for range maxOfOne {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if c, err := net.Dial("tcp", at.String()); err == nil { // else it is reset already
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one more is kept: %v", err)
		}
	}
	if err := r.Check(t.Context()); err != nil {
		t.Errorf("who refuses more is taken for dead: %v", err)
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	c, err := other.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "HEAD / HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.0 200") {
		t.Errorf("another client: %.50q, %v", b, err)
	}
}
