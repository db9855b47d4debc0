package config

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/miekg/dns"
)

func (v *validator) hosts() {
	for i, h := range v.c.Hosts {
		p := index("hosts", i)
		who := fmt.Sprintf("host %q", clip(h.Name))
		if v.fullName(p+".name", who, h.Name, false) {
			if !strings.Contains(h.Name, ".") {
				v.errorf(p+".name", "%s: a host needs its full name; write such as %s.example.com", who, h.Name)
			}
			v.claimName(p+".name", who, h.Name)
			if len(h.MAC) > 0 || h.ClientID != "" || !h.UUID.IsZero() {
				v.hostName(p+".name", who, h.Name)
			}
		}
		v.machine(p, who, h.IP, h.IP6, "write it under dns.records if it is only to be found by name")
		v.claimMACs(p+".mac", who, h.MAC)
		v.identity(p, who, h.IP, h.UUID, h.ClientID)
		if !h.UUID.IsZero() && len(h.MAC) == 0 && h.ClientID == "" {
			v.warnf(p+".uuid", "%s: only firmware tells its uuid; the operating system gets another address or none, write mac or client_id too", who)
		}
	}
}

func (v *validator) dns() {
	seen := map[AddrPort]int{}
	for i, f := range v.c.DNS.Forwarders {
		p := index("dns.forwarders", i)
		j, twice := seen[f]
		switch own := f.Addr() == v.c.Helper.Address || f.Addr() == v.c.Helper.Address6; {
		case !f.IsValid():
		case f.Addr().IsUnspecified() || f.Addr().IsMulticast():
			v.errorf(p, "forwarder %s is not the address of one machine; write the address of a name server", f)
		case own && f.Port() == 53:
			v.errorf(p, "forwarder %s is the helper itself, so questions would go round in a loop; write the name server of your site", f)
		case twice:
			v.errorf(p, "forwarder %s is already there (line %d); remove one", f, v.line(index("dns.forwarders", j)))
		default:
			seen[f] = i
		}
	}
	v.records()
}

// recordExamples shows values of the types.
var recordExamples = map[string]string{
	"A":     "192.168.7.9",
	"AAAA":  "fd00::9",
	"CNAME": "registry.example.com",
	"TXT":   `'"some text"'`,
	"SRV":   `"0 10 2380 etcd-0.example.com"`,
	"MX":    `"10 mail.example.com"`,
	"PTR":   "mail.example.com",
}

func (v *validator) records() {
	type key struct{ name, kind, value string }
	seen := map[key]int{}
	other := map[string]int{} // owner names with any record
	alias := map[string]int{} // owner names of CNAMEs
	for i, r := range v.c.DNS.Records {
		p := index("dns.records", i)
		who := fmt.Sprintf("record %q", clip(r.Name))
		if recordExamples[r.Type] == "" || r.Value == "" || !v.fullName(p+".name", who, r.Name, true) {
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(r.Name, "."))
		v.record(p, who, name, r)
		if j, twice := seen[key{name, r.Type, r.Value}]; twice {
			v.errorf(p, "%s: the record is already there (line %d); remove one", who, v.line(index("dns.records", j)))
			continue
		}
		seen[key{name, r.Type, r.Value}] = i
		j, aliased := alias[name]
		k, taken := other[name]
		switch {
		case r.Type == "CNAME" && taken:
			v.errorf(p+".type", "%s: a CNAME stands alone, and the name has another record (line %d); remove one (RFC 1034 section 3.6.2)", who, v.line(index("dns.records", k)))
		case aliased:
			v.errorf(p+".type", "%s: the name has a CNAME (line %d), which stands alone; remove one (RFC 1034 section 3.6.2)", who, v.line(index("dns.records", j)))
		}
		other[name] = i
		if r.Type == "CNAME" {
			alias[name] = i
		}
	}
}

// record checks one record by what the name server's own parser makes of it.
func (v *validator) record(p, who, name string, r Record) {
	if strings.ContainsFunc(r.Value, unicode.IsControl) {
		v.errorf(p+".value", "%s: the value has a line break or control character; write it in one line", who)
		return
	}
	rr, err := dns.NewRR(dns.Fqdn(name) + " 300 IN " + r.Type + " " + r.Value)
	switch {
	case err != nil || rr == nil || comment(r.Value):
		v.errorf(p+".value", "%s: %q is no value of type %s; write such as value: %s", who, clip(r.Value), r.Type, recordExamples[r.Type])
	case r.Type == "PTR" && !strings.HasSuffix(name, ".in-addr.arpa") && !strings.HasSuffix(name, ".ip6.arpa"):
		v.errorf(p+".name", "%s: a PTR belongs to an address; write such as 9.7.168.192.in-addr.arpa", who)
	case r.Type == "A" || r.Type == "AAAA" || r.Type == "CNAME":
		if o, taken := v.names[name]; taken {
			v.errorf(p+".name", "%s: the name is already used by %s (line %d), whose records helperd makes; choose another", who, o.who, v.line(o.path))
		}
	}
	if time.Duration(r.TTL)/time.Second > math.MaxInt32 {
		v.errorf(p+".ttl", "%s: the TTL is too long; DNS allows 2147483647 seconds (RFC 2181 section 8)", who)
	}
}

// comment reports whether a zone file reader would drop the end of s as a comment.
func comment(s string) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			quoted = !quoted
		case ';':
			if !quoted {
				return true
			}
		}
	}
	return false
}
