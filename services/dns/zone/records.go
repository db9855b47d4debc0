package zone

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"helperd/plan"
)

// maxSet is the largest record set. Others refuse more than 100 records too (BIND's max-records-per-type).
const maxSet = 100

// owner is a name with its records.
type owner struct {
	name  string
	zone  *authority
	types []uint16 // in the order of the plan
	sets  map[uint16][]dns.RR
}

func (o *owner) cname() *dns.CNAME {
	if rrs := o.sets[dns.TypeCNAME]; len(rrs) > 0 {
		return rrs[0].(*dns.CNAME)
	}
	return nil
}

func parse(r plan.Record) (dns.RR, error) {
	rr, err := dns.NewRR(r.String())
	if err != nil {
		return nil, fmt.Errorf("record %q: %w", r.String(), err)
	}
	if rr == nil {
		return nil, fmt.Errorf("record %q is empty", r.String())
	}
	h := rr.Header()
	h.Name = dns.CanonicalName(h.Name)
	if h.Class != dns.ClassINET {
		return nil, fmt.Errorf("record %q: class %s is not served, only IN", r.String(), dns.Class(h.Class))
	}
	return rr, nil
}

// add puts rr into its set: duplicates once, one TTL for all, the smallest (RFC 2181 section 5.2).
func (o *owner) add(rr dns.RR) error {
	h := rr.Header()
	have := o.sets[h.Rrtype]
	if slices.ContainsFunc(have, func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }) {
		return nil
	}
	if h.Rrtype == dns.TypeNS && o.name != o.zone.apex {
		return fmt.Errorf("record %q delegates: only whole zones are served, leave it out", rr)
	}
	if len(have) == 0 {
		o.types = append(o.types, h.Rrtype)
	} else {
		ttl := min(have[0].Header().Ttl, h.Ttl)
		h.Ttl = ttl
		for _, other := range have {
			other.Header().Ttl = ttl
		}
	}
	o.sets[h.Rrtype] = append(have, rr)
	if len(have) >= maxSet {
		return fmt.Errorf("name %s has more than %d %s records", o.name, maxSet, dns.Type(h.Rrtype))
	}
	if o.cname() != nil && (len(o.types) > 1 || len(o.sets[dns.TypeCNAME]) > 1) {
		return fmt.Errorf("name %s has a CNAME and other records: a CNAME stands alone (RFC 1034 section 3.6.2)", o.name)
	}
	return nil
}

// within reports whether name is apex or below it.
func within(name, apex string) bool { return dns.IsSubDomain(apex, name) }
