package dns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"helperd/internal/freeport"
	"helperd/plan"
)

// silence is a forwarder that takes questions and never answers.
func silence(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestForwarderIsHardToForge: whoever wants to answer in a forwarder's place has to
// guess an identifier and a port, anew for every question (RFC 5452 section 9.2).
func TestForwarderIsHardToForge(t *testing.T) {
	const questions = 50
	r, up := newRig(t), newUpstream(t)
	r.apply(r.plan(up.addr))
	for i := range questions {
		r.ask("udp", "", fmt.Sprintf("w%d.example.org.", i), dns.TypeA)
	}
	for what, seen := range map[string]*sync.Map{"ports": &up.ports, "identifiers": &up.ids} {
		n := 0
		seen.Range(func(any, any) bool { n++; return true })
		if n < questions*9/10 {
			t.Errorf("%d questions had %d %s", questions, n, what)
		}
	}
}

// TestSilentForwarder: the client hears that it failed before it gives up, at 5 s.
func TestSilentForwarder(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan(silence(t)))
	if reply := r.ask("udp", "", "www.example.org.", dns.TypeA); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("answer %s", dns.RcodeToString[reply.Rcode])
	}
}

// TestListenerEndsInTime: however many readers an address has, what waits at a
// silent forwarder holds up its end once, and not once a reader.
func TestListenerEndsInTime(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	r := newRig(t)
	p := r.plan(silence(t))
	r.apply(p)
	const questions = 200
	msg, err := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range questions { // from as many ports, which reach all readers
		c, err := net.Dial("udp", r.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = c.Write(msg)
	}
	for end := time.Now().Add(2 * time.Second); len(r.slow) < questions && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	next := r.plan(p.DNS.Forwarders...)
	next.DNS.Listen = []netip.AddrPort{freeport.On(t, "127.0.0.2")}
	began := time.Now()
	r.apply(next)
	for {
		c, err := net.ListenPacket("udp", r.addr.String()) // free again
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Since(began) > 2*drain {
			t.Fatalf("the old address is still served after %s", time.Since(began))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestReloadsLeakNothing counts goroutines and descriptors over 200 reloads that
// change forwarders and addresses.
func TestReloadsLeakNothing(t *testing.T) {
	r := newRig(t)
	ups := []*upstream{newUpstream(t), newUpstream(t)}
	extra := freeport.On(t, "127.0.0.2")
	variant := func(i int) *plan.Plan {
		p := r.plan(ups[i%2].addr)
		if i%3 == 0 {
			p.DNS.Listen = append(p.DNS.Listen, extra)
		}
		return p
	}
	count := func() (goroutines, files int) {
		time.Sleep(time.Second)
		runtime.GC() // CoreDNS' proxies end their connection managers by a finalizer
		e, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(e)
	}
	r.apply(variant(0))
	g0, f0 := count()
	for i := range 200 {
		r.apply(variant(i))
		r.ask("udp", "", fmt.Sprintf("u%d.example.org.", i), dns.TypeA)
		r.ask("tcp", "", fmt.Sprintf("t%d.example.org.", i), dns.TypeA)
	}
	// The last chains drain for some seconds; a leak does not go away.
	r.apply(variant(0))
	g1, f1 := count()
	for range 30 {
		if g1 <= g0+5 && f1 <= f0+5 {
			return
		}
		g1, f1 = count()
	}
	t.Errorf("goroutines %d -> %d, descriptors %d -> %d", g0, g1, f0, f1)
}
