package lb

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

// v2Header is a header of the PROXY protocol, version 2; no client: LOCAL.
func v2Header(client, local netip.AddrPort) string {
	h := []byte("\r\n\r\n\x00\r\nQUIT\n")
	if !client.IsValid() {
		return string(append(h, 0x20, 0, 0, 0))
	}
	body := append(client.Addr().AsSlice(), local.Addr().AsSlice()...)
	body = binary.BigEndian.AppendUint16(body, client.Port())
	body = binary.BigEndian.AppendUint16(body, local.Port())
	body = append(body, 5, 0, 3, 'i', 'd', '1') // a field that nobody knows
	family := byte(0x11)
	if client.Addr().Is6() {
		family = 0x21
	}
	h = append(h, 0x21, family)
	return string(append(binary.BigEndian.AppendUint16(h, uint16(len(body))), body...))
}

func v1Of(client, local netip.AddrPort) string {
	family := "TCP4"
	if client.Addr().Is6() {
		family = "TCP6"
	}
	return "PROXY " + family + " " + client.Addr().String() + " " + local.Addr().String() + " " + portOf(client) + " " + portOf(local) + "\r\n"
}

// TestAcceptProxy: the header's client is the connection's from then on, what
// follows in the same packet is kept, and peers of accept_proxy must send one.
func TestAcceptProxy(t *testing.T) {
	const balancer = "127.0.0.21"
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) { echo(c); _ = c.CloseWrite() })
	p := lbPlan(front, unchecked, tcpServer("s1", b.addr))
	p.LB.Frontends[0].AcceptProxy = []netip.Prefix{netip.MustParsePrefix("127.0.0.16/28")}
	p.LB.Frontends[0].Allow = []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64"), netip.MustParsePrefix("127.0.0.16/29"),
	}
	p.LB.Backends[0].SendProxy = "v1"
	r.apply(p)
	client, local := netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("198.51.100.1:443")
	client6, local6 := netip.MustParseAddrPort("[2001:db8::7]:4711"), netip.MustParseAddrPort("[2001:db8:1::1]:443")
	other := netip.MustParseAddrPort("203.0.113.7:4711")
	mapped := "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 4711 443\r\n"
	tests := []struct {
		name, source, head string
		pieces             int
		want               string // what the server hears, before the data
		closed             bool
	}{
		{"v1", balancer, v1Of(client, local), 1, v1Of(client, local), false},
		{"v1 byte by byte", balancer, v1Of(client, local), 60, v1Of(client, local), false},
		{"v1 IPv6", balancer, v1Of(client6, local6), 1, v1Of(client6, local6), false},
		{"v1 IPv4 in IPv6", balancer, mapped, 1, v1Of(client, local), false},
		{"v2", balancer, v2Header(client, local), 1, v1Of(client, local), false},
		{"v2 in pieces", balancer, v2Header(client6, local6), 9, v1Of(client6, local6), false},
		{"v2 of a client that is not allowed", balancer, v2Header(other, local), 1, "", true},
		{"v1 of a client that is not allowed", balancer, v1Of(other, local), 1, "", true},
		{"no header", balancer, "GET / HTTP/1.0\r\n", 1, "", true},
		{"half a header", balancer, "PROXY TCP4 192.0.2", 1, "", true},
		{"two addresses that do not fit", balancer, "PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n", 1, "", true},
		{"from elsewhere it is data, and that one is not allowed", "127.0.0.1", v1Of(client, local), 1, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want + "data"
			if tt.closed {
				want = ""
			}
			data := tt.head
			if !tt.closed || strings.HasSuffix(tt.head, "\r\n") {
				data += "data"
			}
			if got := quietTalk(t, tt.source, front, data, tt.pieces); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	t.Run("LOCAL and UNKNOWN are the balancer itself", func(t *testing.T) {
		for _, head := range []string{v2Header(netip.AddrPort{}, local), "PROXY UNKNOWN\r\n"} {
			got := talk(t, balancer, front, head+"data", 1)
			if !strings.HasPrefix(got, "PROXY TCP4 "+balancer+" 127.0.0.1 ") || !strings.HasSuffix(got, "\r\ndata") {
				t.Errorf("got %q", got)
			}
		}
	})
	f := r.lb.Table().Frontends[0]
	if f.BadHead != 3 || f.Refused != 3 || f.Total != 8 {
		t.Errorf("bad heads %d, refused %d, total %d", f.BadHead, f.Refused, f.Total)
	}
	waitFor(t, "an event", func() bool {
		for _, e := range r.host.Events.Since(0) {
			if e.Kind == timeline.LBRefused && e.Addr == other.Addr() {
				return true
			}
		}
		return false
	})
	// Without a header in time it is closed.
	c := dialFrom(t, balancer, front)
	_, _ = io.WriteString(c, "PROXY ")
	start := time.Now()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || time.Since(start) < 4*time.Second {
		t.Errorf("%d bytes, %v after %s", n, err, time.Since(start))
	}
}

// quietTalk is talk with whom a reset is no fault: what is refused at once is not read.
func quietTalk(t *testing.T, source string, to netip.AddrPort, data string, pieces int) string {
	t.Helper()
	c := dialFrom(t, source, to)
	for i := 0; i < len(data); i += (len(data) + pieces - 1) / pieces {
		_, _ = io.WriteString(c, data[i:min(len(data), i+(len(data)+pieces-1)/pieces)])
		time.Sleep(time.Millisecond)
	}
	_ = c.CloseWrite()
	got, _ := io.ReadAll(c)
	return string(got)
}

// TestProxiedSource: the source hash goes by the client of the header, also when its name is peeked at.
func TestProxiedSource(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	a := newBackend(t, any0("127.0.0.1"), name("a"))
	b := newBackend(t, any0("127.0.0.1"), name("b"))
	p := lbPlan(front, unchecked, tcpServer("a", a.addr), tcpServer("b", b.addr))
	p.LB.Backends[0].Balance = plan.Source
	f := &p.LB.Frontends[0]
	f.AcceptProxy = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	f.Backend, f.Peek, f.Routes = "", plan.PeekSNI, []plan.NameRoute{{Names: []string{"api.example.com"}, Backend: "back"}}
	r.apply(p)
	seen := map[string]bool{}
	for i := range 64 {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 999)
		first := ""
		for range 2 {
			got := talk(t, "127.0.0.1", front, v2Header(client, front)+hello(t, "api.example.com"), 1)
			if first != "" && got != first {
				t.Errorf("%s went to %q and %q", client, first, got)
			}
			first = got
		}
		seen[first] = true
	}
	if !seen["a"] || !seen["b"] || len(seen) != 2 {
		t.Errorf("servers %v", seen)
	}
}

// TestProxiedClient: the rate, the sessions and the nodes that are seen go by the header too.
func TestProxiedClient(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	p := lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), echo).addr))
	f := &p.LB.Frontends[0]
	f.AcceptProxy = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	f.Rate = plan.Rate{Connections: 2, Per: time.Hour}
	r.apply(p)
	local := netip.MustParseAddrPort("198.51.100.1:443")
	first, second := netip.MustParseAddrPort("192.0.2.1:1001"), netip.MustParseAddrPort("192.0.2.2:1002")
	for _, tt := range []struct {
		client netip.AddrPort
		passes bool
	}{{first, true}, {first, true}, {first, false}, {second, true}} {
		c := dialFrom(t, "127.0.0.1", front)
		_, _ = io.WriteString(c, v2Header(tt.client, local)+"x")
		if _, err := io.ReadFull(c, make([]byte, 1)); (err == nil) != tt.passes {
			t.Errorf("%s: %v", tt.client, err)
		}
	}
	got := map[netip.AddrPort]int{}
	for _, s := range r.lb.engine.Sessions() {
		if s.Local != local {
			t.Errorf("local address %s", s.Local)
		}
		got[s.Client]++
	}
	if got[first] != 2 || got[second] != 1 || len(got) != 2 {
		t.Errorf("sessions of %v", got)
	}
	if n := r.lb.Table().Frontends[0].TooFast; n != 1 {
		t.Errorf("%d too fast", n)
	}
}
