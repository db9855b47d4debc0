package dns

import (
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"helperd/internal/freeport"
	"helperd/plan"
)

// A reload every 50 ms, every one with another zone and every third with
// other forwarders, under questions over UDP and TCP, to us and to a forwarder: nothing is lost.
func TestReloadLosesNothing(t *testing.T) {
	r, up, other := newRig(t), newUpstream(t), newUpstream(t)
	r.apply(r.plan(up.addr))
	var sent, lost atomic.Int64
	var load sync.WaitGroup
	stop := make(chan struct{})
	client := func(network string, n int) {
		defer load.Done()
		c := &dns.Client{Net: network, Timeout: 5 * time.Second}
		conn, err := c.Dial(r.addr.String()) // one connection for all: it must live on
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := "x" + strconv.Itoa(i) + ".apps.ocp4.example.com."
			if i%5 == 0 {
				name = "x" + strconv.Itoa(n) + "-" + strconv.Itoa(i) + ".example.org."
			}
			sent.Add(1)
			reply, _, err := c.ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), conn)
			if err != nil || reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 1 {
				lost.Add(1)
				t.Errorf("%s over %s: %v, %v", name, network, reply, err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	for i, network := range []string{"udp", "udp", "tcp", "tcp"} {
		load.Add(1)
		go client(network, i)
	}
	for i := range 30 {
		forwarders := []netip.AddrPort{up.addr}
		if i%3 == 0 {
			forwarders = append(forwarders, other.addr)
		}
		p := r.plan(forwarders...)
		p.DNS.Zones[0].Records[0].Data = "helper.ocp4.example.com. hostmaster.ocp4.example.com. " + strconv.Itoa(i) + " 3600 600 86400 60"
		if i%4 == 0 { // a plan that another service refuses
			c, err := r.Prepare(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			c.Discard()
		}
		r.apply(p)
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	load.Wait()
	if sent.Load() < 500 {
		t.Errorf("only %d questions were asked", sent.Load())
	}
	t.Logf("%d questions, %d lost", sent.Load(), lost.Load())
	if reply := r.ask("udp", "", "ocp4.example.com.", dns.TypeSOA); reply.Answer[0].(*dns.SOA).Serial != 29 {
		t.Errorf("the last plan is not served: %v", reply.Answer)
	}
}

// An address joins and leaves while the other goes on.
func TestAddressesChange(t *testing.T) {
	r := newRig(t)
	p := r.plan()
	r.apply(p)
	second := freeport.On(t, "127.0.0.2")
	both := r.plan()
	both.DNS.Listen = []netip.AddrPort{r.addr, second}
	for range 3 {
		r.apply(both)
		if _, err := dns.Exchange(new(dns.Msg).SetQuestion("helper.ocp4.example.com.", dns.TypeA), second.String()); err != nil {
			t.Fatal(err)
		}
		r.ask("udp", "", "helper.ocp4.example.com.", dns.TypeA)
		r.apply(p)
		r.ask("tcp", "", "helper.ocp4.example.com.", dns.TypeA)
	}
	r.apply(&plan.Plan{})
}

// The chain is kept while the forwarders are the same, and with it its cache.
func TestChainIsKept(t *testing.T) {
	r, up := newRig(t), newUpstream(t)
	r.apply(r.plan(up.addr))
	first := r.state.Load().chain
	r.ask("udp", "", "kept.example.org.", dns.TypeA)
	asked := up.asked.Load()
	r.apply(r.plan(up.addr))
	r.ask("udp", "", "kept.example.org.", dns.TypeA)
	if r.state.Load().chain != first || up.asked.Load() != asked {
		t.Error("the same forwarders started another chain")
	}
	r.apply(r.plan())
	if r.state.Load().chain != nil {
		t.Error("no forwarders, and still a chain")
	}
	if reply := r.ask("udp", "", "kept.example.org.", dns.TypeA); reply.Rcode != dns.RcodeRefused {
		t.Errorf("without forwarders: %s", dns.RcodeToString[reply.Rcode])
	}
}

func TestPanic(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	for range 3 {
		held := r.dial()
		panics := r.host.Guard.Panics()
		r.fuse.Arm()
		// This question is lost with its batch.
		go func() { _, _ = r.exchange("udp", "", new(dns.Msg).SetQuestion("helper.ocp4.example.com.", dns.TypeA)) }()
		for deadline := time.Now().Add(5 * time.Second); r.host.Guard.Panics() == panics; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the reader did not panic")
			}
		}
		client := &dns.Client{Timeout: time.Second}
		var err error
		for range 5 {
			if _, _, err = client.Exchange(new(dns.Msg).SetQuestion("helper.ocp4.example.com.", dns.TypeA), r.addr.String()); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatalf("after a panic: %v", err)
		}
		if _, err := held.Write(frame(t, 1, "helper.ocp4.example.com.", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		if _, err := readFrame(held); err != nil {
			t.Errorf("a TCP connection suffers from a panic in UDP: %v", err)
		}
	}
	if r.host.Guard.Panics() != 3 {
		t.Errorf("%d panics, want 3", r.host.Guard.Panics())
	}
}
