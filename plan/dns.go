package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"helperd/config"
)

const (
	// recordTTL in seconds, of all records that are derived: a moved node is
	// found at its new address after five minutes.
	recordTTL = 300
	// SOA timers in seconds. Secondaries are rare here; the last one is how long
	// "no such name" is kept (RFC 2308 section 5): short, so that a node that was
	// just added is found.
	soaTimers = "3600 600 604800 30"
	dnsPort   = 53
)

// dns derives the zones of the clusters, single names, and reverse names.
func (b *builder) dns() {
	d := &b.p.DNS
	if d.Enabled = b.c.DNS.Enabled; !d.Enabled {
		return
	}
	d.Listen = b.listen(netip.Addr{}, dnsPort)
	for _, f := range b.c.DNS.Forwarders {
		d.Forwarders = append(d.Forwarders, f.AddrPort)
	}
	d.Allow = b.c.DNS.Allow
	d.Reverse = b.prefixes()
	for _, cl := range b.p.Clusters {
		d.Zones = append(d.Zones, b.zone(cl))
	}
	_, taken := b.derived()
	for i, h := range b.p.Hosts {
		if taken[absolute(h.Name)] {
			b.say(config.Error, fmt.Sprintf("hosts[%d].name", i), "host %q: helperd makes the records of this name; choose another", h.Name)
			continue
		}
		for _, a := range h.Addresses() {
			b.name(address(h.Name, a))
		}
	}
	own := b.records()
	for _, r := range b.pointers() {
		if !own[r.Name] {
			d.Names = append(d.Names, r)
		}
	}
}

// zone holds what OpenShift wants of DNS (user-provisioned DNS requirements of
// its documentation), and the nodes.
func (b *builder) zone(cl *Cluster) Zone {
	z := Zone{Name: absolute(cl.Zone)}
	helper := b.p.Helper.Name + "." + cl.Zone
	add := func(r Record) { z.Records = append(z.Records, r) }
	add(Record{z.Name, "SOA", recordTTL, fmt.Sprintf("%s hostmaster.%s %d %s", absolute(helper), z.Name, b.facts.Serial, soaTimers)})
	add(Record{z.Name, "NS", recordTTL, absolute(helper)})
	taken := map[string]bool{}
	put := func(name string, as []netip.Addr) {
		taken[name] = true
		for _, a := range as {
			add(address(name, a))
		}
	}
	for _, name := range []string{"api", "api-int", "*.apps"} {
		put(name+"."+cl.Zone, b.addressesOf(cl))
	}
	put(helper, b.p.Helper.Addresses())
	for _, n := range cl.Nodes {
		put(n.FQDN, n.Addresses())
	}
	// Clusters up to 4.3 look for etcd by these names.
	i := 0
	for _, n := range cl.Nodes {
		if n.Role != Master {
			continue
		}
		etcd := fmt.Sprintf("etcd-%d.%s", i, cl.Zone)
		if !taken[etcd] {
			put(etcd, n.Addresses())
		}
		add(Record{absolute("_etcd-server-ssl._tcp." + cl.Zone), "SRV", recordTTL, "0 10 2380 " + absolute(etcd)})
		i++
	}
	return z
}

// name adds a record to the zone that it lies in, else to the single names.
func (b *builder) name(r Record) {
	d := &b.p.DNS
	best := -1
	for i, z := range d.Zones {
		if dns.IsSubDomain(z.Name, r.Name) && (best < 0 || len(z.Name) > len(d.Zones[best].Name)) {
			best = i
		}
	}
	if best < 0 {
		d.Names = append(d.Names, r)
		return
	}
	d.Zones[best].Records = append(d.Zones[best].Records, r)
}

// records adds those of the file. It tells the names of its PTR records, and of
// CNAMEs, which stand in for them (RFC 2317): in reverse zones, what is written
// wins over what is derived.
func (b *builder) records() map[string]bool {
	pointers := map[string]bool{}
	derived, addresses := b.derived()
	for i, r := range b.c.DNS.Records {
		name := absolute(r.Name)
		if r.Type == "CNAME" && derived[name] || (r.Type == "A" || r.Type == "AAAA") && addresses[name] {
			b.say(config.Error, fmt.Sprintf("dns.records[%d].name", i), "record %q: helperd makes the records of this name; choose another", r.Name)
			continue
		}
		ttl := uint32(time.Duration(r.TTL) / time.Second)
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", name, ttl, r.Type, r.Value))
		if err != nil || rr == nil {
			b.say(config.Error, fmt.Sprintf("dns.records[%d].value", i), "record %q: %q is no value of type %s", r.Name, r.Value, r.Type)
			continue
		}
		pointers[name] = pointers[name] || r.Type == "PTR" || r.Type == "CNAME"
		b.name(Record{name, r.Type, ttl, strings.TrimPrefix(rr.String(), rr.Header().String())})
	}
	return pointers
}

// derived tells the names that have records of ours so far, and those that have addresses.
func (b *builder) derived() (names, addresses map[string]bool) {
	names, addresses = map[string]bool{}, map[string]bool{}
	take := func(rs []Record) {
		for _, r := range rs {
			names[r.Name] = true
			addresses[r.Name] = addresses[r.Name] || r.Type == "A" || r.Type == "AAAA"
		}
	}
	for _, z := range b.p.DNS.Zones {
		take(z.Records)
	}
	take(b.p.DNS.Names)
	return names, addresses
}

// pointers gives each address one name: the helper's own, then nodes and
// hosts, then api for an address that is only a balancer's.
func (b *builder) pointers() []Record {
	var out []Record
	seen := map[netip.Addr]bool{}
	point := func(a netip.Addr, name string) {
		if seen[a] {
			return
		}
		seen[a] = true
		owner, err := dns.ReverseAddr(a.String())
		if err != nil {
			return // not reached: netip writes what net parses
		}
		out = append(out, Record{owner, "PTR", recordTTL, absolute(name)})
	}
	if len(b.p.Clusters) > 0 {
		for _, a := range b.p.Helper.Addresses() {
			point(a, b.p.Helper.Name+"."+b.p.Clusters[0].Zone)
		}
	}
	for _, n := range b.p.Nodes {
		for _, a := range n.Addresses() {
			point(a, n.FQDN)
		}
	}
	for _, h := range b.p.Hosts {
		for _, a := range h.Addresses() {
			point(a, h.Name)
		}
	}
	for _, cl := range b.p.Clusters {
		for _, a := range b.addressesOf(cl) {
			point(a, "api."+cl.Zone)
		}
	}
	return out
}

// address is the A or AAAA record of name.
func address(name string, a netip.Addr) Record {
	kind := "AAAA"
	if a.Is4() {
		kind = "A"
	}
	return Record{absolute(name), kind, recordTTL, a.String()}
}

// absolute is a name as zones hold it: lower case, with a trailing dot.
func absolute(name string) string { return dns.CanonicalName(name) }
