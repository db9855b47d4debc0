package wire

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"helperd/plan"
	"helperd/services/dns/zone"
)

// records reads "NAME TTL TYPE DATA" lines.
func records(text string) []plan.Record {
	var out []plan.Record
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		out = append(out, plan.Record{Name: f[0], TTL: 300, Type: f[1], Data: strings.Join(f[2:], " ")})
	}
	return out
}

const ocp4 = `
	ocp4.example.com. SOA helper.ocp4.example.com. hostmaster.ocp4.example.com. 7 3600 600 86400 60
	ocp4.example.com. NS helper.ocp4.example.com.
	helper.ocp4.example.com. A 192.168.67.2
	api.ocp4.example.com. A 192.168.67.2
	api.ocp4.example.com. AAAA fd00::2
	*.apps.ocp4.example.com. A 192.168.67.2
	real.apps.ocp4.example.com. TXT "beats the wildcard"
	_etcd-server-ssl._tcp.ocp4.example.com. SRV 0 10 2380 etcd-0.ocp4.example.com.
	etcd-0.ocp4.example.com. A 192.168.67.11
	near.ocp4.example.com. CNAME api.ocp4.example.com.
	far.ocp4.example.com. CNAME www.example.org.
	farther.ocp4.example.com. CNAME far.ocp4.example.com.
	dead.ocp4.example.com. CNAME nobody.ocp4.example.com.
	empty.ocp4.example.com. CNAME _tcp.ocp4.example.com.
	wild.ocp4.example.com. CNAME console.apps.ocp4.example.com.
	across.ocp4.example.com. CNAME n0.sno.lab.test.
	loop1.ocp4.example.com. CNAME loop2.ocp4.example.com.
	loop2.ocp4.example.com. CNAME loop1.ocp4.example.com.
	*.alias.ocp4.example.com. CNAME api.ocp4.example.com.
	mail.ocp4.example.com. MX 10 helper.ocp4.example.com.
`

const sno = `
	sno.lab.test. SOA helper.sno.lab.test. hostmaster.sno.lab.test. 7 3600 600 86400 3600
	sno.lab.test. NS helper.sno.lab.test.
	n0.sno.lab.test. A 10.30.8.11
`

const single = `
	registry.lab.test. A 10.20.0.9
	web.lab.test. CNAME registry.lab.test.
	*.dev.lab.test. A 10.20.0.10
	2.67.168.192.in-addr.arpa. PTR helper.ocp4.example.com.
	2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR helper.ocp4.example.com.
`

func table(t testing.TB) *zone.Table {
	t.Helper()
	reverse := []netip.Prefix{netip.MustParsePrefix("192.168.67.0/25"), netip.MustParsePrefix("fd00::/64")}
	tab, err := zone.Compile([]plan.Zone{{Name: "ocp4.example.com.", Records: records(ocp4)}, {Name: "sno.lab.test.", Records: records(sno)}},
		records(single), reverse)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// ask gives the reply to m as the library reads it.
func ask(t testing.TB, tab *zone.Table, c Client, m *dns.Msg) (*dns.Msg, Next, string) {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q Query
	out := make([]byte, c.MaxReply())
	n, next, target := Answer(tab, c, &q, b, out)
	if n == 0 {
		return nil, next, target
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(out[:n]); err != nil {
		t.Fatalf("reply does not parse: %v\n%x", err, out[:n])
	}
	return reply, next, target
}

// lines are the records of a section, one a line.
func lines(rrs []dns.RR) string {
	var b strings.Builder
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeOPT {
			continue
		}
		b.WriteString(strings.ReplaceAll(strings.Replace(rr.String(), "\tIN\t", "\t", 1), "\t", " ") + "\n")
	}
	return b.String()
}

const (
	soa4    = "ocp4.example.com. 60 SOA helper.ocp4.example.com. hostmaster.ocp4.example.com. 7 3600 600 86400 60\n"
	soaSNO  = "sno.lab.test. 300 SOA helper.sno.lab.test. hostmaster.sno.lab.test. 7 3600 600 86400 3600\n"
	refused = dns.RcodeRefused
	nx      = dns.RcodeNameError
)

func TestAnswer(t *testing.T) {
	tab := table(t)
	for _, c := range []struct {
		name   string
		qname  string
		qtype  uint16
		rcode  int
		answer string
		author string
		aa     bool
	}{
		{"address", "api.ocp4.example.com.", dns.TypeA, 0, "api.ocp4.example.com. 300 A 192.168.67.2\n", "", true},
		{"address in capitals", "API.Ocp4.example.COM.", dns.TypeA, 0, "API.Ocp4.example.COM. 300 A 192.168.67.2\n", "", true},
		{"IPv6 address", "api.ocp4.example.com.", dns.TypeAAAA, 0, "api.ocp4.example.com. 300 AAAA fd00::2\n", "", true},
		{"no such type", "helper.ocp4.example.com.", dns.TypeAAAA, 0, "", soa4, true},
		{"no such name", "nobody.ocp4.example.com.", dns.TypeA, nx, "", soa4, true},
		{"no such name below a name", "a.b.api.ocp4.example.com.", dns.TypeA, nx, "", soa4, true},
		{"TTL of the SOA when smaller", "nobody.sno.lab.test.", dns.TypeA, nx, "", soaSNO, true},
		{"apex", "ocp4.example.com.", dns.TypeNS, 0, "ocp4.example.com. 300 NS helper.ocp4.example.com.\n", "", true},
		{
			"apex SOA", "ocp4.example.com.", dns.TypeSOA, 0,
			"ocp4.example.com. 300 SOA helper.ocp4.example.com. hostmaster.ocp4.example.com. 7 3600 600 86400 60\n", "", true,
		},
		{"wildcard", "console.apps.ocp4.example.com.", dns.TypeA, 0, "console.apps.ocp4.example.com. 300 A 192.168.67.2\n", "", true},
		{"wildcard over labels", "a.b.c.apps.ocp4.example.com.", dns.TypeA, 0, "a.b.c.apps.ocp4.example.com. 300 A 192.168.67.2\n", "", true},
		{"wildcard without the type", "console.apps.ocp4.example.com.", dns.TypeAAAA, 0, "", soa4, true},
		{"the wildcard itself", "*.apps.ocp4.example.com.", dns.TypeA, 0, "*.apps.ocp4.example.com. 300 A 192.168.67.2\n", "", true},
		{"a name hides the wildcard", "real.apps.ocp4.example.com.", dns.TypeA, 0, "", soa4, true},
		{"and for names below it", "x.real.apps.ocp4.example.com.", dns.TypeA, nx, "", soa4, true},
		{"empty non-terminal", "apps.ocp4.example.com.", dns.TypeA, 0, "", soa4, true},
		{"empty non-terminal of a service", "_tcp.ocp4.example.com.", dns.TypeSRV, 0, "", soa4, true},
		{
			"service", "_etcd-server-ssl._tcp.ocp4.example.com.", dns.TypeSRV, 0,
			"_etcd-server-ssl._tcp.ocp4.example.com. 300 SRV 0 10 2380 etcd-0.ocp4.example.com.\n", "", true,
		},
		{"mail", "mail.ocp4.example.com.", dns.TypeMX, 0, "mail.ocp4.example.com. 300 MX 10 helper.ocp4.example.com.\n", "", true},
		{"any", "api.ocp4.example.com.", dns.TypeANY, 0, "api.ocp4.example.com. 8482 HINFO \"RFC8482\" \"\"\n", "", true},
		{"any of an empty non-terminal", "apps.ocp4.example.com.", dns.TypeANY, 0, "", soa4, true},
		{
			"alias", "near.ocp4.example.com.", dns.TypeA, 0,
			"near.ocp4.example.com. 300 CNAME api.ocp4.example.com.\napi.ocp4.example.com. 300 A 192.168.67.2\n", "", true,
		},
		{"alias asked for itself", "near.ocp4.example.com.", dns.TypeCNAME, 0, "near.ocp4.example.com. 300 CNAME api.ocp4.example.com.\n", "", true},
		{"alias without the type", "near.ocp4.example.com.", dns.TypeTXT, 0, "near.ocp4.example.com. 300 CNAME api.ocp4.example.com.\n", soa4, true},
		{"alias to nowhere", "dead.ocp4.example.com.", dns.TypeA, nx, "dead.ocp4.example.com. 300 CNAME nobody.ocp4.example.com.\n", soa4, true},
		{"alias to an empty non-terminal", "empty.ocp4.example.com.", dns.TypeA, 0, "empty.ocp4.example.com. 300 CNAME _tcp.ocp4.example.com.\n", soa4, true},
		{
			"alias to a wildcard", "wild.ocp4.example.com.", dns.TypeA, 0,
			"wild.ocp4.example.com. 300 CNAME console.apps.ocp4.example.com.\nconsole.apps.ocp4.example.com. 300 A 192.168.67.2\n", "", true,
		},
		{
			"alias into another zone", "across.ocp4.example.com.", dns.TypeA, 0,
			"across.ocp4.example.com. 300 CNAME n0.sno.lab.test.\nn0.sno.lab.test. 300 A 10.30.8.11\n", "", true,
		},
		{"denial in another zone", "across.ocp4.example.com.", dns.TypeAAAA, 0, "across.ocp4.example.com. 300 CNAME n0.sno.lab.test.\n", soaSNO, true},
		{
			"alias of a wildcard", "x.alias.ocp4.example.com.", dns.TypeA, 0,
			"x.alias.ocp4.example.com. 300 CNAME api.ocp4.example.com.\napi.ocp4.example.com. 300 A 192.168.67.2\n", "", true,
		},
		{"alias out of the house", "far.ocp4.example.com.", dns.TypeA, 0, "far.ocp4.example.com. 300 CNAME www.example.org.\n", "", true},
		{
			"alias in a circle", "loop1.ocp4.example.com.", dns.TypeA, 0,
			"loop1.ocp4.example.com. 300 CNAME loop2.ocp4.example.com.\nloop2.ocp4.example.com. 300 CNAME loop1.ocp4.example.com.\n", "", true,
		},

		{"single name", "registry.lab.test.", dns.TypeA, 0, "registry.lab.test. 300 A 10.20.0.9\n", "", true},
		{"single name without the type", "registry.lab.test.", dns.TypeAAAA, 0, "", "", true},
		{"below a single name", "x.registry.lab.test.", dns.TypeA, refused, "", "", false},
		{"neighbour of a single name", "other.lab.test.", dns.TypeA, refused, "", "", false},
		{"parent of a single name", "lab.test.", dns.TypeA, refused, "", "", false},
		{"single alias", "web.lab.test.", dns.TypeA, 0, "web.lab.test. 300 CNAME registry.lab.test.\nregistry.lab.test. 300 A 10.20.0.9\n", "", true},
		{"single wildcard", "x.dev.lab.test.", dns.TypeA, 0, "x.dev.lab.test. 300 A 10.20.0.10\n", "", true},
		{"parent of a single wildcard", "dev.lab.test.", dns.TypeA, refused, "", "", false},
		{"root", ".", dns.TypeNS, refused, "", "", false},

		{"reverse", "2.67.168.192.in-addr.arpa.", dns.TypePTR, 0, "2.67.168.192.in-addr.arpa. 300 PTR helper.ocp4.example.com.\n", "", true},
		{"reverse, unknown", "3.67.168.192.in-addr.arpa.", dns.TypePTR, nx, "", "", true},
		{"reverse, beyond the prefix", "200.67.168.192.in-addr.arpa.", dns.TypePTR, refused, "", "", false},
		{"reverse, not an address", "67.168.192.in-addr.arpa.", dns.TypePTR, refused, "", "", false},
		{"reverse, leading zero", "03.67.168.192.in-addr.arpa.", dns.TypePTR, refused, "", "", false},
		{
			"reverse IPv6", "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR, 0,
			"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. 300 PTR helper.ocp4.example.com.\n", "", true,
		},
		{"reverse IPv6, unknown", "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR, nx, "", "", true},
		{"reverse IPv6, elsewhere", "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa.", dns.TypePTR, refused, "", "", false},

		{"zone transfer", "ocp4.example.com.", dns.TypeAXFR, refused, "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := new(dns.Msg).SetQuestion(c.qname, c.qtype)
			reply, next, _ := ask(t, tab, Client{}, m)
			if next != Send {
				t.Fatalf("next is %d", next)
			}
			if diff := cmp.Diff(c.answer, lines(reply.Answer)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.author, lines(reply.Ns)); diff != "" {
				t.Errorf("authority (-want +got):\n%s", diff)
			}
			if reply.Rcode != c.rcode || reply.Authoritative != c.aa {
				t.Errorf("rcode %s, AA %v; want %s, %v", dns.RcodeToString[reply.Rcode], reply.Authoritative, dns.RcodeToString[c.rcode], c.aa)
			}
			if !reply.Response || reply.Id != m.Id || reply.Truncated || reply.RecursionAvailable || !reply.RecursionDesired {
				t.Errorf("header %s", reply.MsgHdr.String())
			}
			if diff := cmp.Diff(m.Question, reply.Question); diff != "" {
				t.Errorf("question (-want +got):\n%s", diff)
			}
		})
	}
}

func TestForwarders(t *testing.T) {
	tab := table(t)
	for _, c := range []struct {
		name   string
		qname  string
		qtype  uint16
		next   Next
		target string
	}{
		{"foreign name", "www.example.org.", dns.TypeA, Ask, ""},
		{"neighbour of a single name", "other.lab.test.", dns.TypeA, Ask, ""},
		{"single name without the type", "registry.lab.test.", dns.TypeAAAA, Ask, ""},
		{"single name", "registry.lab.test.", dns.TypeA, Send, ""},
		{"unknown address", "3.67.168.192.in-addr.arpa.", dns.TypePTR, Ask, ""},
		{"no such name of ours", "nobody.ocp4.example.com.", dns.TypeA, Send, ""},
		{"alias out of the house", "far.ocp4.example.com.", dns.TypeA, Chase, "www.example.org."},
		{"over two aliases", "farther.ocp4.example.com.", dns.TypeA, Chase, "www.example.org."},
		{"alias asked for itself", "far.ocp4.example.com.", dns.TypeCNAME, Send, ""},
		{"alias to a type of a single name that is not ours", "web.lab.test.", dns.TypeAAAA, Chase, "registry.lab.test."},
		{"zone transfer", "example.org.", dns.TypeAXFR, Send, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := new(dns.Msg).SetQuestion(c.qname, c.qtype)
			reply, next, target := ask(t, tab, Client{Recurse: true}, m)
			if next != c.next || target != c.target {
				t.Errorf("next %d, target %q; want %d, %q", next, target, c.next, c.target)
			}
			if reply != nil && !reply.RecursionAvailable {
				t.Error("RA is not set for a client that may recurse")
			}
			m.RecursionDesired = false
			if _, next, _ := ask(t, tab, Client{Recurse: true}, m); next != Send {
				t.Error("forwarders are asked although recursion is not desired")
			}
		})
	}
}

func TestEDNS(t *testing.T) {
	tab := table(t)
	for _, c := range []struct {
		name   string
		change func(*dns.Msg)
		rcode  int
		opt    bool
		do     bool
	}{
		{"none", func(*dns.Msg) {}, 0, false, false},
		{"plain", func(m *dns.Msg) { m.SetEdns0(4096, false) }, 0, true, false},
		{"DO is echoed", func(m *dns.Msg) { m.SetEdns0(4096, true) }, 0, true, true},
		{"unknown version", func(m *dns.Msg) { m.SetEdns0(4096, false); m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers, true, false},
		{"unknown option is ignored", func(m *dns.Msg) {
			m.SetEdns0(4096, false)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}}
		}, 0, true, false},
		{"cookie is not echoed", func(m *dns.Msg) {
			m.SetEdns0(4096, false)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
		}, 0, true, false},
		{"refusal has one too", func(m *dns.Msg) { m.Question[0].Name = "example.org."; m.SetEdns0(4096, false) }, refused, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := new(dns.Msg).SetQuestion("api.ocp4.example.com.", dns.TypeA)
			c.change(m)
			reply, _, _ := ask(t, tab, Client{}, m)
			opt := reply.IsEdns0()
			if reply.Rcode != c.rcode || (opt != nil) != c.opt {
				t.Fatalf("rcode %d, OPT %v", reply.Rcode, opt)
			}
			if opt != nil && (opt.UDPSize() != MaxUDP || opt.Do() != c.do || opt.Version() != 0 || len(opt.Option) != 0) {
				t.Errorf("OPT %v", opt)
			}
		})
	}
}

func TestTruncation(t *testing.T) {
	big := ocp4
	for i := range 60 {
		big += "big.ocp4.example.com. AAAA fd00::" + string(rune('a'+i%6)) + string(rune('0'+i/6)) + "\n"
	}
	tab, err := zone.Compile([]plan.Zone{{Name: "ocp4.example.com.", Records: records(big)}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		payload uint16 // 0: no EDNS
		stream  bool
		tc      bool
	}{
		{"without EDNS", 0, false, true},
		{"payload below 512", 100, false, true},
		{"payload above ours", 4096, false, true},
		{"stream", 0, true, false},
		{"stream with EDNS", 512, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := new(dns.Msg).SetQuestion("big.ocp4.example.com.", dns.TypeAAAA)
			if c.payload > 0 {
				m.SetEdns0(c.payload, false)
			}
			reply, _, _ := ask(t, tab, Client{Stream: c.stream}, m)
			if reply.Truncated != c.tc || (len(reply.Answer) == 0) != c.tc || (reply.IsEdns0() != nil) != (c.payload > 0) {
				t.Errorf("TC %v with %d answers, OPT %v", reply.Truncated, len(reply.Answer), reply.IsEdns0())
			}
			if !c.tc && len(reply.Answer) != 60 {
				t.Errorf("%d answers of 60", len(reply.Answer))
			}
		})
	}
}
