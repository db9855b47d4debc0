package chain

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
)

var client = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}

// forwarder answers every question for A after delay.
func forwarder(t *testing.T, delay time.Duration) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	s := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		time.Sleep(delay)
		reply := new(dns.Msg).SetReply(m)
		rr, _ := dns.NewRR(m.Question[0].Name + " 60 IN A 203.0.113.7")
		reply.Answer = []dns.RR{rr}
		_ = w.WriteMsg(reply)
	})}
	go func() { _ = s.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { _ = s.Shutdown() })
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// sockets are the descriptors of this process that are sockets.
func sockets(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			out = append(out, target)
		}
	}
	slices.Sort(out)
	return out
}

func TestStartOpensNoSocket(t *testing.T) {
	to := forwarder(t, 0)
	before := sockets(t)
	c, err := Start([]netip.AddrPort{to})
	if err != nil {
		t.Fatal(err)
	}
	if after := sockets(t); !slices.Equal(before, after) {
		t.Errorf("sockets before %v, after %v", before, after)
	}
	if err := c.Release(); err != nil {
		t.Error(err)
	}
	if n := len(caddy.Instances()); n != 0 {
		t.Errorf("%d instances live", n)
	}
}

func TestAskAndRelease(t *testing.T) {
	c, err := Start([]netip.AddrPort{forwarder(t, 200*time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	c.Retain()
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		m, err := c.Ask(t.Context(), client, new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA))
		if err == nil && len(m.Answer) != 1 {
			err = errors.New("no answer: " + m.String())
		}
		answered <- err
	}()
	<-started
	time.Sleep(50 * time.Millisecond)
	if err := c.Release(); err != nil { // waits for the question under way
		t.Error(err)
	}
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a question under way was not answered")
	}
	if _, err := c.Ask(t.Context(), client, new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)); !errors.Is(err, ErrStopped) {
		t.Errorf("after the last reference: %v", err)
	}
}

// The second forwarder answers when the first does not.
func TestNextForwarder(t *testing.T) {
	dead, err := net.ListenPacket("udp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	to := dead.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = dead.Close()
	c, err := Start([]netip.AddrPort{to, forwarder(t, 0)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Release() }()
	m, err := c.Ask(t.Context(), client, new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA))
	if err != nil || len(m.Answer) != 1 {
		t.Errorf("%v, %v", m, err)
	}
	if n, reason := c.Failing(); n != 0 {
		t.Errorf("%d failures: %s", n, reason)
	}
}

func TestTooManyForwarders(t *testing.T) {
	var many []netip.AddrPort
	for i := range 16 {
		many = append(many, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), 53))
	}
	if c, err := Start(many); err == nil {
		_ = c.Release()
		t.Error("16 forwarders are taken")
	}
	if n := len(caddy.Instances()); n != 0 {
		t.Errorf("%d instances live after a failed start", n)
	}
}
