package lb

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/timeline"
)

func hosted(s *httptest.Server) netip.AddrPort {
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

// gate is an HTTP server whose paths can be told what to answer.
type gate struct {
	*httptest.Server
	ready, healthy atomic.Int32
}

func newGate(t *testing.T, secure bool) *gate {
	g := &gate{}
	g.ready.Store(200)
	g.healthy.Store(200)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := &g.ready
		if r.URL.Path == "/healthz" {
			status = &g.healthy
		}
		w.WriteHeader(int(status.Load()))
	})
	g.Server = httptest.NewUnstartedServer(h)
	if secure {
		g.StartTLS()
	} else {
		g.Start()
	}
	t.Cleanup(g.Close)
	return g
}

func httpCheck(port uint16) plan.Check {
	c := quick
	c.Type, c.Path, c.Port, c.Status = plan.CheckHTTP, "/readyz", int(port), 200
	return c
}

// TestUnreadyAndDead: a red answer stops new connections and leaves open ones;
// a refused connect closes them.
func TestUnreadyAndDead(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), echo)
	g := newGate(t, false)
	node := &plan.Node{FQDN: "m0.ocp4.example.com", Name: "m0", IP: netip.MustParseAddr("192.0.2.1")}
	s := tcpServer("m0", b.addr)
	s.Node = node.FQDN
	p := lbPlan(front, httpCheck(hosted(g.Server).Port()), s)
	p.Nodes = []*plan.Node{node}
	r.apply(p)
	r.waitState("back", "m0", "up")

	c := r.dial(front)
	alive := func() error {
		if _, err := io.WriteString(c, "x"); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	if err := alive(); err != nil {
		t.Fatal(err)
	}
	g.ready.Store(503)
	r.waitState("back", "m0", "unready")
	if last := r.server("back", "m0").Last; last == nil || last.OK || last.Detail != "HTTP 503" {
		t.Errorf("last check: %+v", last)
	}
	if err := alive(); err != nil {
		t.Errorf("open connection of an unready server: %v", err)
	}
	if got, err := ask(front); got != "" || err != nil {
		t.Errorf("new connection with no server up: %q, %v", got, err)
	}
	g.ready.Store(200)
	r.waitState("back", "m0", "up")
	if err := alive(); err != nil {
		t.Errorf("open connection after the server came back: %v", err)
	}
	g.Close()
	r.waitState("back", "m0", "dead")
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("open connection of a dead server: %v, want a reset", err)
	}
	kinds := map[timeline.Kind]int{}
	for _, e := range r.host.Events.Since(0) {
		if e.Node == node.FQDN {
			kinds[e.Kind] += 1 + e.Repeated
		}
	}
	if kinds[timeline.LBUp] != 2 || kinds[timeline.LBDown] != 2 {
		t.Errorf("events: %v", kinds)
	}
}

func TestHTTPSCheck(t *testing.T) {
	tests := []struct {
		name   string
		verify bool
		state  string
	}{
		{"any certificate", false, "up"},
		{"verified", true, "unready"}, // the test's authority is nobody's
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			g := newGate(t, true)
			c := quick
			c.Type, c.Path, c.Verify = plan.CheckHTTPS, "/readyz", tt.verify
			r.apply(lbPlan(freeAddr(t, "127.0.0.1"), c, tcpServer("s1", hosted(g.Server))))
			r.waitState("back", "s1", tt.state)
		})
	}
}

// TestCheckAsksByName: in TLS and in HTTP, on a port of its own, for a status of its own.
func TestCheckAsksByName(t *testing.T) {
	const host = "api-int.ocp4.example.com"
	for _, want := range []int{http.StatusTeapot, http.StatusOK} {
		r := newRig(t)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS.ServerName == host && r.Host == host && r.URL.Path == "/readyz" {
				w.WriteHeader(http.StatusTeapot)
			}
		}))
		s.StartTLS()
		t.Cleanup(s.Close)
		c := quick
		c.Type, c.Path, c.Host, c.Status, c.Port = plan.CheckHTTPS, "/readyz", host, want, int(hosted(s).Port())
		r.apply(lbPlan(freeAddr(t, "127.0.0.1"), c, tcpServer("s1", freeAddr(t, "127.0.0.1"))))
		state := "up"
		if want != http.StatusTeapot {
			state = "unready"
		}
		r.waitState("back", "s1", state)
	}
}

// TestHangingServer: TCP answers and HTTP does not.
func TestHangingServer(t *testing.T) {
	r := newRig(t)
	b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	c := httpCheck(0)
	c.Timeout = 50 * time.Millisecond
	r.apply(lbPlan(freeAddr(t, "127.0.0.1"), c, tcpServer("s1", b.addr)))
	r.waitState("back", "s1", "unready")
	if d := r.server("back", "s1").Last.Detail; d != "HTTP: no answer within 50ms" {
		t.Error(d)
	}
}

// TestFallback: when no server is ready, those that are healthy are better than none.
func TestFallback(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	g := newGate(t, false)
	b := newBackend(t, any0("127.0.0.1"), name("s1"))
	c := httpCheck(hosted(g.Server).Port())
	c.FallbackPath = "/healthz"
	r.apply(lbPlan(front, c, tcpServer("s1", b.addr)))
	r.waitState("back", "s1", "up")
	g.ready.Store(500)
	r.waitState("back", "s1", "unready")
	waitFor(t, "fallback", func() bool { return r.server("back", "s1").Fallback })
	if got, err := ask(front); got != "s1" {
		t.Errorf("on the fallback path: %q, %v", got, err)
	}
	g.healthy.Store(500)
	waitFor(t, "no fallback", func() bool { return !r.server("back", "s1").Fallback })
	if got, _ := ask(front); got != "" {
		t.Errorf("with nothing healthy: %q", got)
	}
}

func TestNotUsedBeforeFirstCheck(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), name("s1"))
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(slow.Close)
	c := httpCheck(hosted(slow).Port())
	c.Timeout = 5 * time.Second
	r.apply(lbPlan(front, c, tcpServer("s1", b.addr)))
	if got, _ := ask(front); got != "" || r.server("back", "s1").State != "starting" {
		t.Errorf("before the first check: %q", got)
	}
	close(release)
	r.waitState("back", "s1", "up")
	if got, _ := ask(front); got != "s1" {
		t.Errorf("after the first check: %q", got)
	}
}

// TestEvidence: a node at the machine config server, and a node whose 6443 answers.
func TestEvidence(t *testing.T) {
	const ip = "127.0.0.77"
	r := newRig(t)
	mcs := netip.MustParseAddrPort("127.0.0.1:22623")
	if l, err := net.Listen("tcp", mcs.String()); err != nil {
		netns.SkipOrFail(t, "port 22623 is in use: "+err.Error())
	} else {
		_ = l.Close()
	}
	b := newBackend(t, any0("127.0.0.1"), name("mcs"))
	node := &plan.Node{FQDN: "m0.ocp4.example.com", Name: "m0", IP: netip.MustParseAddr(ip)}
	p := lbPlan(mcs, unchecked, tcpServer("s1", b.addr))
	p.Nodes = []*plan.Node{node}
	r.apply(p)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	for range 2 {
		c, err := d.Dial("tcp", mcs.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(c)
		_ = c.Close()
	}
	waitFor(t, "evidence", func() bool {
		return r.host.Nodes.State(node).Evidence == "connected to 22623 (machine config server)"
	})
	waitFor(t, "lb.first", func() bool {
		n := 0
		for _, e := range r.host.Events.Since(0) {
			if e.Kind == timeline.LBFirst && e.Node == node.FQDN && e.Detail == "front" {
				n += 1 + e.Repeated
			}
		}
		return n == 1
	})
}

func TestAPIAnswersIsEvidence(t *testing.T) {
	const ip = "127.0.0.78"
	l, err := net.Listen("tcp", ip+":6443")
	if err != nil {
		netns.SkipOrFail(t, err.Error())
	}
	defer l.Close()
	r := newRig(t)
	node := &plan.Node{FQDN: "m1.ocp4.example.com", Name: "m1", IP: netip.MustParseAddr(ip)}
	s := tcpServer("m1", netip.MustParseAddrPort(ip+":6443"))
	s.Node = node.FQDN
	p := lbPlan(freeAddr(t, "127.0.0.1"), quick, s)
	p.Nodes = []*plan.Node{node}
	r.apply(p)
	waitFor(t, "evidence", func() bool { return r.host.Nodes.State(node).Evidence == "its 6443 answers" })
}
