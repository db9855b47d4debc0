package dns

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"helperd/services/dns/wire"
)

var questions = []struct {
	name  string
	qname string
	qtype uint16
	edns  bool
}{
	{"exact", "helper.ocp4.example.com.", dns.TypeA, false},
	{"EDNS", "helper.ocp4.example.com.", dns.TypeA, true},
	{"wildcard", "console.apps.ocp4.example.com.", dns.TypeA, false},
	{"NXDOMAIN", "nobody.ocp4.example.com.", dns.TypeA, false},
	{"NODATA", "helper.ocp4.example.com.", dns.TypeAAAA, false},
	{"PTR", "2.67.168.192.in-addr.arpa.", dns.TypePTR, false},
	{"refused", "www.example.org.", dns.TypeA, false},
}

// answerer does what a reader does for each packet, without the socket.
func answerer(tb testing.TB, r *rig, qname string, qtype uint16, edns bool) func() {
	m := new(dns.Msg).SetQuestion(qname, qtype)
	if edns {
		m.SetEdns0(wire.MaxUDP, false)
	}
	msg, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	var q wire.Query
	out := make([]byte, wire.MaxUDP)
	peer := netip.MustParseAddr("192.168.67.11")
	return func() {
		st := r.state.Load()
		n, next, _ := wire.Answer(st.table, st.client(peer, false), &q, msg, out)
		r.arrived(st, peer, &q)
		if n == 0 || next != wire.Send {
			tb.Fatal("no answer")
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	r := newRig(b)
	r.apply(r.plan())
	for _, q := range questions {
		b.Run(q.name, func(b *testing.B) {
			answer := answerer(b, r, q.qname, q.qtype, q.edns)
			b.ReportAllocs()
			for b.Loop() {
				answer()
			}
		})
	}
}

func TestAnswerDoesNotAllocate(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	for _, q := range questions {
		if n := testing.AllocsPerRun(100, answerer(t, r, q.qname, q.qtype, q.edns)); n != 0 {
			t.Errorf("%s: %v allocations a query", q.name, n)
		}
	}
}
