package rig

import (
	"net"
	"testing"

	"github.com/miekg/dns"
)

// UpstreamName and UpstreamIP are what the router's name server knows: the
// world beyond the helper, asked through the file's forwarder.
const (
	UpstreamName = "www.example.org"
	UpstreamIP   = "203.0.113.7"
)

// upstream answers at the address.
func (r *Rig) upstream(t testing.TB, ip string) {
	t.Helper()
	var pc net.PacketConn
	var l net.Listener
	r.Router.Do(t, func() {
		var err error
		if pc, err = net.ListenPacket("udp4", ip+":53"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp4", ip+":53"); err != nil {
			t.Fatal(err)
		}
	})
	udp := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(answer)}
	tcp := &dns.Server{Listener: l, Handler: dns.HandlerFunc(answer)}
	for name, s := range map[string]*dns.Server{"upstream udp": udp, "upstream tcp": tcp} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		r.guard.Go(name, func() {
			if err := s.ActivateAndServe(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
}

func answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	m.Rcode = dns.RcodeNameError
	if len(q.Question) == 1 && dns.CanonicalName(q.Question[0].Name) == dns.Fqdn(UpstreamName) {
		m.Rcode = dns.RcodeSuccess
		if q.Question[0].Qtype == dns.TypeA {
			rr, _ := dns.NewRR(dns.Fqdn(UpstreamName) + " 60 IN A " + UpstreamIP)
			m.Answer = append(m.Answer, rr)
		}
	}
	_ = w.WriteMsg(m)
}
