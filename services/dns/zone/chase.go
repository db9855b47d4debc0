package zone

import (
	"slices"

	"github.com/miekg/dns"
)

// chase packs the answers of a name that is a CNAME: the chain as far as it is
// ours, and at its end the records, a denial, or the name that others know (RFC 1034 section 4.3.2).
func (c *compiler) chase(o *owner, n *node) error {
	chain := []dns.RR{o.cname()}
	seen := []string{o.name}
	start := func() *packer {
		p := &packer{qname: o.name, apex: o.zone.apex}
		p.answer(chain...)
		return p
	}
	if err := n.put(dns.TypeCNAME, start()); err != nil {
		return err
	}
	for len(chain) <= maxChain {
		target := dns.CanonicalName(chain[len(chain)-1].(*dns.CNAME).Target)
		if slices.Contains(seen, target) {
			break // a loop: the chain is all there is to say
		}
		seen = append(seen, target)
		end, z := c.resolve(target)
		switch {
		case end == nil && z == c.alone:
			return n.rest(start(), target)
		case end == nil:
			p := start()
			p.authority(negativeSOA(c.owners[z.apex]))
			p.rcode = z.absent.Rcode
			if c.exists(target) {
				p.rcode = dns.RcodeSuccess // an empty non-terminal
			}
			return n.rest(p, "")
		case end.cname() != nil:
			chain = append(chain, renamed(end.cname(), target))
			continue
		}
		for _, qtype := range end.types {
			p := start()
			for _, rr := range end.sets[qtype] {
				p.answer(renamed(rr, target))
			}
			if err := n.put(qtype, p); err != nil {
				return err
			}
		}
		if z == c.alone {
			return n.rest(start(), target)
		}
		p := start()
		p.authority(negativeSOA(c.owners[z.apex]))
		return n.rest(p, "")
	}
	return n.rest(start(), "")
}

// rest makes p the answer to every type without a set.
func (n *node) rest(p *packer, target string) (err error) {
	if n.other, err = p.tail(); err == nil {
		n.other.Target = target
	}
	return err
}

// resolve finds the records of name, its own or those of the wildcard that
// covers it, and the zone that speaks for it.
func (c *compiler) resolve(name string) (*owner, *authority) {
	z := c.zoneOf(name)
	if o := c.owners[name]; o != nil {
		return o, z
	}
	if c.exists(name) {
		return nil, z
	}
	for i, end := dns.NextLabel(name, 0); !end && within(name[i:], z.apex); i, end = dns.NextLabel(name, i) {
		if o := c.owners["*."+name[i:]]; o != nil {
			return o, z
		}
		if c.exists(name[i:]) { // the closest encloser has no wildcard
			break
		}
	}
	return nil, z
}

// exists reports whether name has records or lies above a name of its zone that has.
func (c *compiler) exists(name string) bool {
	if c.owners[name] != nil {
		return true
	}
	z := c.zoneOf(name)
	return z != c.alone && slices.ContainsFunc(c.order, func(o *owner) bool { return o.zone == z && within(o.name, name) })
}

func renamed(rr dns.RR, name string) dns.RR {
	rr = dns.Copy(rr)
	rr.Header().Name = name
	return rr
}
