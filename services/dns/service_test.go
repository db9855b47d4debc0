package dns

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"helperd/internal/freeport"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

func TestAnswers(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct {
			name   string
			qtype  uint16
			rcode  int
			answer string
		}{
			{"helper.ocp4.example.com.", dns.TypeA, dns.RcodeSuccess, "192.168.67.2"},
			{"console.apps.ocp4.example.com.", dns.TypeA, dns.RcodeSuccess, "192.168.67.2"},
			{"2.67.168.192.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "helper.ocp4.example.com."},
			{"3.67.168.192.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
			{"nobody.ocp4.example.com.", dns.TypeA, dns.RcodeNameError, ""},
			{"www.example.org.", dns.TypeA, dns.RcodeRefused, ""},
			{"far.ocp4.example.com.", dns.TypeA, dns.RcodeSuccess, "www.example.org."},
		} {
			t.Run(network+" "+c.name, func(t *testing.T) {
				reply := r.ask(network, "", c.name, c.qtype)
				if reply.Rcode != c.rcode || reply.RecursionAvailable {
					t.Errorf("rcode %s, RA %v", dns.RcodeToString[reply.Rcode], reply.RecursionAvailable)
				}
				if got := data(reply.Answer); got != c.answer {
					t.Errorf("answer %q, want %q", got, c.answer)
				}
			})
		}
	}
}

// data is the data of the records, without their owners.
func data(rrs []dns.RR) string {
	var out []string
	for _, rr := range rrs {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return strings.Join(out, " ")
}

func TestForwarding(t *testing.T) {
	r, up := newRig(t), newUpstream(t)
	p := r.plan(up.addr)
	p.DNS.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r.apply(p)
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct {
			name   string
			qtype  uint16
			rcode  int
			answer string
			aa     bool
		}{
			{"www.example.org.", dns.TypeA, dns.RcodeSuccess, "203.0.113.7", false},
			{"WWW.example.ORG.", dns.TypeA, dns.RcodeSuccess, "203.0.113.7", false},
			{"nobody.example.net.", dns.TypeA, dns.RcodeNameError, "", false},
			{"far.ocp4.example.com.", dns.TypeA, dns.RcodeSuccess, "www.example.org. 203.0.113.7", true},
			{"registry.lab.test.", dns.TypeA, dns.RcodeSuccess, "10.20.0.9", true},
			{"registry.lab.test.", dns.TypeAAAA, dns.RcodeSuccess, "", false}, // the forwarder says NXDOMAIN; we know better
			{"3.67.168.192.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, "", false},
		} {
			t.Run(network+" "+c.name+" "+dns.Type(c.qtype).String(), func(t *testing.T) {
				m := new(dns.Msg).SetQuestion(c.name, c.qtype)
				m.SetEdns0(4096, true)
				reply, err := r.exchange(network, "", m)
				if err != nil {
					t.Fatal(err)
				}
				if reply.Rcode != c.rcode || reply.Authoritative != c.aa || !reply.RecursionAvailable {
					t.Errorf("header %s", reply.MsgHdr.String())
				}
				if got := data(reply.Answer); got != c.answer {
					t.Errorf("answer %q, want %q", got, c.answer)
				}
				if diff := cmp.Diff(m.Question, reply.Question); diff != "" {
					t.Errorf("question (-want +got):\n%s", diff)
				}
				if opt := reply.IsEdns0(); opt == nil || opt.UDPSize() != 1232 || !opt.Do() {
					t.Errorf("OPT %v", opt)
				}
			})
		}
	}
	t.Run("large answer", func(t *testing.T) {
		reply := r.ask("udp", "", "big.example.org.", dns.TypeTXT)
		reply.Compress = true // Len is that of the message as it came
		if !reply.Truncated || reply.Len() > dns.MinMsgSize {
			t.Errorf("%d bytes, TC %v", reply.Len(), reply.Truncated)
		}
		if reply := r.ask("tcp", "", "big.example.org.", dns.TypeTXT); reply.Truncated || len(reply.Answer) != 40 {
			t.Errorf("%d records, TC %v", len(reply.Answer), reply.Truncated)
		}
	})
	t.Run("cache", func(t *testing.T) {
		r.ask("udp", "", "cached.example.org.", dns.TypeA)
		before := up.asked.Load()
		r.ask("udp", "", "cached.example.org.", dns.TypeA)
		if up.asked.Load() != before {
			t.Error("the forwarder was asked twice for one name")
		}
	})
}

func TestOnlyTheNetworksMayRecurse(t *testing.T) {
	r, up := newRig(t), newUpstream(t)
	p := r.plan(up.addr)
	p.DNS.Allow = []netip.Prefix{netip.MustParsePrefix("10.99.1.0/24"), netip.MustParsePrefix("fd00::/64")}
	r.apply(p)
	for from, allow := range map[string]bool{
		"127.0.0.1": true, "::1": true, "10.99.0.1": false, "10.99.1.1": true, "10.99.2.1": false, "fd00::7": true, "fd01::7": false,
	} {
		if c := r.state.Load().client(netip.MustParseAddr(from), false); c.Recurse != allow {
			t.Errorf("%s may recurse: %v", from, c.Recurse)
		}
	}
	r.apply(r.plan())
	if c := r.state.Load().client(netip.MustParseAddr("127.0.0.1"), false); c.Recurse {
		t.Error("a client may recurse without forwarders")
	}
}

func TestDeadForwarder(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan(freeport.On(t, "127.0.0.3")))
	for _, name := range []string{"a.example.org.", "b.example.org.", "c.example.org."} {
		if reply := r.ask("udp", "", name, dns.TypeA); reply.Rcode != dns.RcodeServerFailure {
			t.Errorf("rcode %s", dns.RcodeToString[reply.Rcode])
		}
	}
	status := r.Status()
	if status.State != services.Degraded || !strings.Contains(status.Problem, "no forwarder answered") {
		t.Errorf("status %+v", status)
	}
	if reply := r.ask("udp", "", "helper.ocp4.example.com.", dns.TypeA); reply.Rcode != dns.RcodeSuccess {
		t.Error("our own names suffer from a dead forwarder")
	}
}

func TestForwarderIsItself(t *testing.T) {
	r := newRig(t)
	if _, err := r.Prepare(t.Context(), r.plan(r.addr)); err == nil || !strings.Contains(err.Error(), "itself") {
		t.Errorf("error %v", err)
	}
}

func TestPrepareLeavesNoTrace(t *testing.T) {
	r, up := newRig(t), newUpstream(t)
	for range 2 {
		c, err := r.Prepare(t.Context(), r.plan(up.addr))
		if err != nil {
			t.Fatal(err)
		}
		c.Discard()
	}
	l, err := net.Listen("tcp", r.addr.String())
	if err != nil {
		t.Fatalf("the port is not free after Discard: %v", err)
	}
	_ = l.Close()
	broken := r.plan()
	broken.DNS.Zones[0].Records = broken.DNS.Zones[0].Records[1:] // no SOA
	if _, err := r.Prepare(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "SOA") {
		t.Errorf("a zone without SOA: %v", err)
	}
	if s := r.Status(); s.State != services.Disabled {
		t.Errorf("status %+v", s)
	}
}

func TestCheckAndStatus(t *testing.T) {
	r := newRig(t)
	if err := r.Check(t.Context()); err != nil {
		t.Errorf("disabled: %v", err)
	}
	p := r.plan()
	p.DNS.Listen = append(p.DNS.Listen, netip.MustParseAddrPort("192.0.2.1:5353")) // not on this machine: must not be asked
	r.apply(p)
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	s := r.Status()
	if s.State != services.Up || len(s.Listeners) != 4 || s.Counters["queries_fast"] == 0 {
		t.Errorf("status %+v", s)
	}
	r.apply(&plan.Plan{})
	if err := r.Check(t.Context()); err != nil {
		t.Errorf("disabled again: %v", err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		if l, err := net.Listen("tcp", r.addr.String()); err == nil {
			_ = l.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the port is not given back")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestHeldPort(t *testing.T) {
	r := newRig(t)
	holder, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(r.addr))
	if err != nil {
		t.Fatal(err)
	}
	r.apply(r.plan())
	s := r.Status()
	if s.State != services.Degraded || !strings.Contains(s.Problem, "is held by") {
		t.Errorf("status %+v", s)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Errorf("check of a held port: %v", err)
	}
	if reply := r.ask("tcp", "", "helper.ocp4.example.com.", dns.TypeA); reply.Rcode != dns.RcodeSuccess {
		t.Error("TCP suffers from a held UDP port")
	}
	_ = holder.Close()
	deadline := time.Now().Add(10 * time.Second)
	for r.Status().State != services.Up {
		if time.Now().After(deadline) {
			t.Fatal("the port is not taken after it is free")
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.ask("udp", "", "helper.ocp4.example.com.", dns.TypeA)
}

func TestFirstQuestionIsAnEvent(t *testing.T) {
	r := newRig(t)
	p := r.plan()
	r.apply(p)
	for range 3 {
		r.ask("udp", "127.0.0.9", "helper.ocp4.example.com.", dns.TypeA)
		r.ask("tcp", "127.0.0.9", "ocp4.example.com.", dns.TypeSOA)
		r.ask("udp", "127.0.0.8", "helper.ocp4.example.com.", dns.TypeA)
		r.apply(p)
	}
	events := slices.DeleteFunc(r.events.Since(0), func(e timeline.Event) bool { return e.Kind != timeline.DNSFirst })
	if len(events) != 1 || events[0].Node != "master-0.ocp4.example.com" || events[0].Detail != "helper.ocp4.example.com." || events[0].Repeated != 0 {
		t.Errorf("events %+v", events)
	}
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	r.ask("udp", "", "helper.ocp4.example.com.", dns.TypeA)
	r.ask("udp", "", "nobody.ocp4.example.com.", dns.TypeA)
	r.apply(&plan.Plan{}) // the readers end, their counts stay
	deadline := time.Now().Add(5 * time.Second)
	for {
		r.tally.mu.Lock()
		live := len(r.tally.live)
		r.tally.mu.Unlock()
		if live == 1 { // that of the connections
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d readers live", live)
		}
		time.Sleep(10 * time.Millisecond)
	}
	reg := r.host.Metrics.(*prometheus.Registry)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			if v := m.GetCounter().GetValue() + m.GetGauge().GetValue(); v != 0 {
				got[name] = v
			}
		}
	}
	want := map[string]float64{"helperd_dns_queries_total fast": 2, "helperd_dns_responses_total NOERROR": 1, "helperd_dns_responses_total NXDOMAIN": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

// When too many questions wait for the forwarders, further ones do not, and our own names go on.
func TestTooManyQuestions(t *testing.T) {
	r, up := newRig(t), newUpstream(t)
	r.apply(r.plan(up.addr))
	for range maxSlow {
		r.slow <- struct{}{}
	}
	client := &dns.Client{Timeout: 200 * time.Millisecond}
	if reply, _, err := client.Exchange(new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA), r.addr.String()); err == nil {
		t.Errorf("over UDP: %v", reply)
	}
	if reply := r.ask("tcp", "", "www.example.org.", dns.TypeA); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("over TCP: %v", reply)
	}
	if reply := r.ask("udp", "", "helper.ocp4.example.com.", dns.TypeA); len(reply.Answer) != 1 {
		t.Errorf("our own name: %v", reply)
	}
	if n := r.Status().Counters["dropped"]; n != 1 {
		t.Errorf("%d dropped, want 1", n)
	}
	for range maxSlow {
		<-r.slow
	}
	if reply := r.ask("udp", "", "www.example.org.", dns.TypeA); len(reply.Answer) != 1 {
		t.Errorf("afterwards: %v", reply)
	}
}

// CNAMEs of ours that do not fit are never left out of an answer without a word.
func TestLongAliasIsTruncated(t *testing.T) {
	r, up := newRig(t), newUpstream(t)
	p := r.plan(up.addr)
	label := strings.Repeat("x", 60) + "."
	name := "a.ocp4.example.com."
	for i := range 4 {
		next := string(rune('a'+i)) + "." + strings.Repeat(label, 3) + "ocp4.example.com."
		p.DNS.Zones[0].Records = append(p.DNS.Zones[0].Records, plan.Record{Name: name, Type: "CNAME", TTL: 60, Data: next})
		name = next
	}
	p.DNS.Zones[0].Records = append(p.DNS.Zones[0].Records, plan.Record{Name: name, Type: "CNAME", TTL: 60, Data: "www.example.org."})
	r.apply(p)
	if reply := r.ask("udp", "", "a.ocp4.example.com.", dns.TypeA); !reply.Truncated || len(reply.Answer) != 0 {
		t.Errorf("over UDP: %v", reply)
	}
	if reply := r.ask("tcp", "", "a.ocp4.example.com.", dns.TypeA); reply.Truncated || len(reply.Answer) != 6 {
		t.Errorf("over TCP: %v", reply)
	}
}
