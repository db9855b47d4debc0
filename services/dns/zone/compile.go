package zone

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"helperd/plan"
)

// maxChain is the longest chain of CNAMEs that is followed.
const maxChain = 8

// compiler holds what is known while a table is built.
type compiler struct {
	zones  []*authority
	alone  *authority // of single names
	owners map[string]*owner
	order  []*owner
	table  *Table
}

// Compile builds the table of zones, single names and the networks whose
// unknown addresses are ours to deny. The error joins all mistakes.
func Compile(zones []plan.Zone, names []plan.Record, reverse []netip.Prefix) (*Table, error) {
	c := &compiler{
		alone: &authority{}, owners: map[string]*owner{},
		table: &Table{nodes: map[string]*node{}, reverse: reverse},
	}
	for _, z := range zones {
		apex := dns.CanonicalName(z.Name)
		if len(wireName(apex)) == 0 {
			return nil, fmt.Errorf("zone %q is not a domain name", z.Name)
		}
		c.zones = append(c.zones, &authority{apex: apex, apexLen: len(wireName(apex))})
	}
	var errs []error
	add := func(r plan.Record) {
		rr, err := parse(r)
		if err == nil {
			err = c.add(rr)
		}
		errs = append(errs, err)
	}
	for _, z := range zones {
		for _, r := range z.Records {
			add(r)
		}
	}
	for _, r := range names {
		add(r)
	}
	for _, z := range c.zones {
		errs = append(errs, c.negative(z))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, o := range c.order {
		errs = append(errs, c.emit(o))
	}
	for _, z := range c.zones { // a zone in a zone: the names between exist in the outer one
		if i, end := dns.NextLabel(z.apex, 0); !end && c.zoneOf(z.apex[i:]) != c.alone {
			c.node(z.apex[i:], c.zoneOf(z.apex[i:]))
		}
	}
	return c.table, errors.Join(errs...)
}

// zoneOf gives the deepest zone that name is in; single names are in none.
func (c *compiler) zoneOf(name string) *authority {
	found := c.alone
	for _, z := range c.zones {
		if within(name, z.apex) && len(z.apex) > len(found.apex) {
			found = z
		}
	}
	return found
}

func (c *compiler) add(rr dns.RR) error {
	name := rr.Header().Name
	o := c.owners[name]
	if o == nil {
		o = &owner{name: name, zone: c.zoneOf(name), sets: map[uint16][]dns.RR{}}
		c.owners[name] = o
		c.order = append(c.order, o)
	}
	return o.add(rr)
}

// negative packs the zone's answers that deny.
func (c *compiler) negative(z *authority) error {
	o := c.owners[z.apex]
	if o == nil || len(o.sets[dns.TypeSOA]) != 1 {
		return fmt.Errorf("zone %s needs one SOA record", z.apex)
	}
	p := packer{apex: z.apex}
	p.authority(negativeSOA(o))
	nodata, err := p.tail()
	if err != nil {
		return err
	}
	absent := *nodata
	absent.Rcode = dns.RcodeNameError
	z.nodata, z.absent = nodata, &absent
	return nil
}

// negativeSOA is the SOA of denials, whose TTL is the time that they may be kept (RFC 2308 section 5).
func negativeSOA(apex *owner) *dns.SOA {
	soa := dns.Copy(apex.sets[dns.TypeSOA][0]).(*dns.SOA)
	soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	return soa
}

// emit packs all answers of o's name and puts them in the table.
func (c *compiler) emit(o *owner) error {
	n := c.node(o.name, o.zone)
	n.exists = true
	if o.cname() != nil {
		if err := c.chase(o, n); err != nil {
			return err
		}
	} else {
		n.other = o.zone.nodata
		for _, qtype := range o.types {
			p := packer{qname: o.name, apex: o.zone.apex}
			p.answer(o.sets[qtype]...)
			if err := n.put(qtype, &p); err != nil {
				return err
			}
		}
	}
	p := packer{qname: o.name, apex: o.zone.apex}
	p.answer(refuseANY(o.name))
	var err error
	if n.any, err = p.tail(); err != nil {
		return err
	}
	if wildcard(o.name) {
		parent := c.node(o.name[len("*."):], o.zone)
		parent.wild = n
	}
	return nil
}

// refuseANY is the answer to ANY (RFC 8482 section 4.2).
func refuseANY(name string) dns.RR {
	return &dns.HINFO{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: 8482}, Cpu: "RFC8482"}
}

func wildcard(name string) bool { return len(name) > 2 && name[:2] == "*." }

func (n *node) put(qtype uint16, p *packer) error {
	t, err := p.tail()
	n.sets = append(n.sets, set{qtype, t})
	return err
}

// node gives the entry of name and, in a zone, of the empty non-terminals above it (RFC 8020).
func (c *compiler) node(name string, z *authority) *node {
	key := string(wireName(name))
	if n := c.table.nodes[key]; n != nil {
		return n
	}
	n := &node{zone: z, other: z.nodata, exists: z != c.alone}
	c.table.nodes[key] = n
	c.table.maxDepth = max(c.table.maxDepth, dns.CountLabel(name))
	if i, end := dns.NextLabel(name, 0); z != c.alone && !end && name != z.apex {
		c.node(name[i:], z)
	}
	return n
}
