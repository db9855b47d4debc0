package lb

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/services/lb/peek"
	"helperd/timeline"
)

// Addresses of the nodes of the two clusters of shared, and of a stranger.
const (
	edgeNode = "127.0.0.11"
	snoNode  = "127.0.0.12"
	stranger = "127.0.0.1"
)

// shared is a balancer with two clusters, edge and sno, on one address. Their
// servers say the cluster's name and a colon, and then what they hear.
type shared struct {
	*rig
	https, http netip.AddrPort
	plan        *plan.Plan
}

func newShared(t *testing.T) *shared {
	t.Helper()
	s := &shared{rig: newRig(t), https: freeAddr(t, "127.0.0.1"), http: freeAddr(t, "127.0.0.1")}
	var routes []plan.NameRoute
	l := plan.LB{Enabled: true, MaxConnections: 50000, Retries: 3}
	for name, node := range map[string]string{"edge": edgeNode, "sno": snoNode} {
		b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
			_, _ = io.WriteString(c, name+":")
			echo(c)
			_ = c.CloseWrite()
		})
		l.Backends = append(l.Backends, plan.Backend{
			Name: name, Balance: plan.Source, Check: unchecked, ConnectTimeout: 5 * time.Second,
			Servers: []plan.Server{tcpServer("s1", b.addr)},
		})
		zone := name + ".example.com"
		routes = append(routes, plan.NameRoute{
			Names: []string{"api." + zone, "api-int." + zone, ".apps." + zone}, Sources: []netip.Addr{netip.MustParseAddr(node)}, Backend: name,
		})
	}
	l.Frontends = []plan.Frontend{
		{Name: "https", Listen: []netip.AddrPort{s.https}, Routes: routes, Peek: plan.PeekSNI},
		{Name: "http", Listen: []netip.AddrPort{s.http}, Routes: routes, Peek: plan.PeekHost},
	}
	s.plan = &plan.Plan{LB: l, Nodes: []*plan.Node{{FQDN: "m0.edge.example.com", IP: netip.MustParseAddr(edgeNode)}}}
	s.apply(s.plan)
	return s
}

func (s *shared) frontend(name string) FrontendStatus {
	for _, f := range s.lb.Table().Frontends {
		if f.Name == name {
			return f
		}
	}
	return FrontendStatus{}
}

// dialFrom connects from a source address.
func dialFrom(t testing.TB, source string, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// talk sends data in pieces, then a FIN, and gives what comes back. A reset is an error.
func talk(t testing.TB, source string, to netip.AddrPort, data string, pieces int) string {
	t.Helper()
	c := dialFrom(t, source, to)
	for len(data) > 0 {
		n := (len(data) + pieces - 1) / pieces
		if _, err := io.WriteString(c, data[:n]); err != nil {
			break // closed before all was said
		}
		data, pieces = data[n:], max(1, pieces-1)
		time.Sleep(time.Millisecond)
	}
	_ = c.CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("from %s: %v", source, err)
	}
	return string(got)
}

// hello is the ClientHello of crypto/tls.
func hello(t testing.TB, name string) string {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() { _ = tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake() }()
	b := make([]byte, peek.Max)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestSharedByName(t *testing.T) {
	s := newShared(t)
	get := func(head string) string { return "GET / HTTP/1.1\r\n" + head + "\r\n\r\n" }
	tests := []struct {
		name   string
		to     netip.AddrPort
		source string
		data   string
		pieces int
		want   string
	}{
		{"api", s.https, stranger, hello(t, "api.edge.example.com"), 1, "edge"},
		{"api-int of the other", s.https, stranger, hello(t, "api-int.sno.example.com"), 1, "sno"},
		{"wildcard", s.https, stranger, hello(t, "console.apps.edge.example.com"), 1, "edge"},
		{"below the wildcard", s.https, stranger, hello(t, "a.b.apps.sno.example.com"), 1, "sno"},
		{"in pieces", s.https, stranger, hello(t, "API.Edge.example.com"), 40, "edge"},
		{"byte by byte", s.https, stranger, hello(t, "api.sno.example.com")[:400], 400, "sno"},
		{"the name is stronger than the node", s.https, edgeNode, hello(t, "api.sno.example.com"), 1, "sno"},
		{"unknown name from a node", s.https, edgeNode, hello(t, "api.other.example.net"), 1, "edge"},
		{"no name from a node", s.https, snoNode, hello(t, ""), 3, "sno"},
		{"garbage from a node", s.https, snoNode, "\x80\x2e\x01\x03\x01garbage", 1, "sno"},
		{"half a hello from a node", s.https, edgeNode, hello(t, "api.sno.example.com")[:60], 1, "edge"},
		{"unknown name from a stranger", s.https, stranger, hello(t, "api.other.example.net"), 1, ""},
		{"no name from a stranger", s.https, stranger, hello(t, ""), 1, ""},
		{"garbage from a stranger", s.https, stranger, get("Host: api.edge.example.com"), 1, ""},
		{"half a hello from a stranger", s.https, stranger, hello(t, "api.sno.example.com")[:60], 1, ""},
		{"nothing", s.https, stranger, "", 1, ""},

		{"host", s.http, stranger, get("Host: a.apps.edge.example.com"), 1, "edge"},
		{"host in pieces", s.http, stranger, get("Accept: */*\r\nhost: a.apps.sno.example.com:80"), 30, "sno"},
		{"the first request decides", s.http, stranger, get("Host: a.apps.sno.example.com") + get("Host: a.apps.edge.example.com"), 1, "sno"},
		{"absolute form", s.http, stranger, "GET http://a.apps.sno.example.com/ HTTP/1.1\r\nHost: a.apps.edge.example.com\r\n\r\n", 1, "sno"},
		{"no host from a node", s.http, snoNode, "GET / HTTP/1.0\r\n\r\n", 1, "sno"},
		{"HTTP/2 from a node", s.http, edgeNode, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1, "edge"},
		{"unknown host", s.http, stranger, get("Host: example.net"), 1, ""},
		{"TLS at port 80", s.http, stranger, hello(t, "api.edge.example.com"), 1, ""},
		{"a head too long from a node", s.http, edgeNode, "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", peek.Max) + "\r\nHost: a.apps.sno.example.com\r\n\r\n", 2, "edge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := ""
			if tt.want != "" {
				want = tt.want + ":" + tt.data
			}
			if got := talk(t, tt.source, tt.to, tt.data, tt.pieces); got != want {
				t.Errorf("got %.60q, want %.60q", got, want)
			}
		})
	}
	if n := s.frontend("https").Unnamed; n != 4 { // whoever says nothing is not counted
		t.Errorf("https: %d unnamed", n)
	}
	if n := s.frontend("http").Unnamed; n != 2 {
		t.Errorf("http: %d unnamed", n)
	}
	if n := s.lb.Status().Counters["unnamed"]; n != 6 {
		t.Errorf("%d unnamed", n)
	}
	waitFor(t, "the last stray", func() bool {
		x := s.frontend("http").Stray
		return x != nil && x.Client.String() == stranger && strings.Contains(x.Detail, "an HTTP request with a Host")
	})
	for _, e := range s.host.Events.Since(0) {
		if e.Kind == timeline.LBRefused && strings.Contains(e.Detail, `it asked for "api.other.example.net"`) {
			return
		}
	}
	t.Error("the timeline says nothing of the name that nobody has")
}

// TestSharedTimeout: whoever does not say enough in time is sent to the cluster
// of the node, or closed, without a byte as well as with some every second.
func TestSharedTimeout(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	start := time.Now()
	node, slow, silent := dialFrom(t, edgeNode, s.https), dialFrom(t, stranger, s.https), dialFrom(t, stranger, s.https)
	data := hello(t, "api.sno.example.com")
	go func() {
		for i := range len(data) {
			if _, err := io.WriteString(slow, data[i:i+1]); err != nil {
				return
			}
			time.Sleep(500 * time.Millisecond)
		}
	}()
	b := make([]byte, 5)
	if _, err := io.ReadFull(node, b); err != nil || string(b) != "edge:" {
		t.Errorf("a silent node: %q, %v", b, err)
	}
	for _, c := range []*net.TCPConn{slow, silent} {
		if n, err := c.Read(b); n != 0 || err == nil {
			t.Errorf("a stranger got %q, %v", b[:n], err)
		}
	}
	if took := time.Since(start); took < 4900*time.Millisecond || took > 9*time.Second {
		t.Errorf("it took %s", took)
	}
}
