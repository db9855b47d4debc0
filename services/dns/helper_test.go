package dns

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"helperd/internal/freeport"
	"helperd/internal/guard"
	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

// rig is a name server on loopback with what the daemon would give it.
type rig struct {
	*Service
	t      testing.TB
	addr   netip.AddrPort
	fuse   *guard.Fuse
	events *timeline.Timeline
	stop   func()
}

// newRig gives a serving name server without a plan yet. Its address is free.
func newRig(t testing.TB) *rig {
	t.Helper()
	group := guard.New(nil)
	log := slog.New(slog.DiscardHandler)
	r := &rig{t: t, addr: freeport.On(t, "127.0.0.1"), fuse: &guard.Fuse{}, events: timeline.New(time.Now)}
	sockets := socket.NewTable(group, log)
	r.Service = New(services.Host{
		Log: log, Guard: group, Fuse: r.fuse, Sockets: sockets, Events: r.events, Metrics: prometheus.NewRegistry(),
	})
	r.start()
	t.Cleanup(func() {
		r.stop()
		sockets.Close()
		group.Wait()
	})
	return r
}

// start runs Serve until stop, which waits for its end.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := r.host.Guard.Loop(ctx, "serve", r.Serve)
	r.stop = func() {
		cancel()
		<-ended
	}
}

func (r *rig) apply(p *plan.Plan) {
	r.t.Helper()
	c, err := r.Prepare(context.Background(), p)
	if err != nil {
		r.t.Fatal(err)
	}
	c.Commit()
}

// plan is that of a small cluster, served at the rig's address.
func (r *rig) plan(forwarders ...netip.AddrPort) *plan.Plan {
	return &plan.Plan{
		Nodes: []*plan.Node{{Name: "master-0", FQDN: "master-0.ocp4.example.com", IP: netip.MustParseAddr("127.0.0.9")}},
		DNS: plan.DNS{
			Enabled: true,
			Listen:  []netip.AddrPort{r.addr},
			Zones: []plan.Zone{{Name: "ocp4.example.com.", Records: []plan.Record{
				{Name: "ocp4.example.com.", Type: "SOA", TTL: 300, Data: "helper.ocp4.example.com. hostmaster.ocp4.example.com. 7 3600 600 86400 60"},
				{Name: "ocp4.example.com.", Type: "NS", TTL: 300, Data: "helper.ocp4.example.com."},
				{Name: "helper.ocp4.example.com.", Type: "A", TTL: 300, Data: "192.168.67.2"},
				{Name: "*.apps.ocp4.example.com.", Type: "A", TTL: 300, Data: "192.168.67.2"},
				{Name: "far.ocp4.example.com.", Type: "CNAME", TTL: 300, Data: "www.example.org."},
			}}},
			Names: []plan.Record{
				{Name: "registry.lab.test.", Type: "A", TTL: 300, Data: "10.20.0.9"},
				{Name: "2.67.168.192.in-addr.arpa.", Type: "PTR", TTL: 300, Data: "helper.ocp4.example.com."},
			},
			Forwarders: forwarders,
			Reverse:    []netip.Prefix{netip.MustParsePrefix("192.168.67.0/24")},
		},
	}
}

// ask asks over network, udp or tcp, from the address from, if it is not empty.
func (r *rig) ask(network, from, name string, qtype uint16) *dns.Msg {
	r.t.Helper()
	reply, err := r.exchange(network, from, new(dns.Msg).SetQuestion(name, qtype))
	if err != nil {
		r.t.Fatalf("%s %s over %s: %v", name, dns.Type(qtype), network, err)
	}
	return reply
}

func (r *rig) exchange(network, from string, m *dns.Msg) (*dns.Msg, error) {
	c := &dns.Client{Net: network, Timeout: 5 * time.Second, Dialer: &net.Dialer{}, UDPSize: dns.MaxMsgSize}
	if from != "" {
		c.Dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
		if network == "tcp" {
			c.Dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
	}
	reply, _, err := c.Exchange(m, r.addr.String())
	return reply, err
}

// upstream is a forwarder on loopback that knows *.example.org and denies the rest.
type upstream struct {
	addr  netip.AddrPort
	asked atomic.Int64
	delay atomic.Int64 // nanoseconds before every answer
	ports sync.Map     // source addresses of questions
	ids   sync.Map     // and their identifiers
}

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	u := &upstream{addr: freeport.On(t, "127.0.0.3")}
	pc, err := net.ListenPacket("udp", u.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", u.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: u}, {Listener: l, Handler: u}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return u
}

// ServeDNS implements dns.Handler.
func (u *upstream) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	u.asked.Add(1)
	u.ports.Store(w.RemoteAddr().String(), true)
	u.ids.Store(m.Id, true)
	time.Sleep(time.Duration(u.delay.Load()))
	reply := new(dns.Msg).SetReply(m)
	reply.RecursionAvailable = true
	q := m.Question[0]
	switch {
	case strings.HasPrefix(q.Name, "big.") && q.Qtype == dns.TypeTXT:
		for i := range 40 {
			rr, _ := dns.NewRR(q.Name + " 60 IN TXT " + strings.Repeat(string(rune('a'+i%26)), 100) + string(rune('0'+i/26)))
			reply.Answer = append(reply.Answer, rr)
		}
		if w.RemoteAddr().Network() == "udp" {
			reply.Truncate(dns.MinMsgSize)
		}
	case strings.HasSuffix(q.Name, "example.org.") && q.Qtype == dns.TypeA:
		rr, _ := dns.NewRR(q.Name + " 60 IN A 203.0.113.7")
		reply.Answer = []dns.RR{rr}
	default:
		reply.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(reply)
}
