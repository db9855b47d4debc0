package zone

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

// packer builds a Tail.
type packer struct {
	qname   string // the question's name
	apex    string // that names are compressed to; empty: none
	body    []byte
	fixups  []uint16
	answers uint16
	authors uint16
	rcode   uint8
	err     error
}

func (p *packer) answer(rrs ...dns.RR) {
	for _, rr := range rrs {
		p.record(rr)
		p.answers++
	}
}

func (p *packer) authority(rr dns.RR) {
	p.record(rr)
	p.authors++
}

func (p *packer) tail() (*Tail, error) {
	if p.err == nil && len(p.body) > dns.MaxMsgSize-1024 {
		p.err = fmt.Errorf("records of %s are larger than a message", p.qname)
	}
	if p.err != nil {
		return nil, p.err
	}
	return &Tail{
		body: p.body, fixups: p.fixups, apexLen: len(wireName(p.apex)),
		Answer: p.answers, Author: p.authors, Rcode: p.rcode,
	}, nil
}

// record appends rr. Names in the data of types that RFC 1035 knows are
// compressed; those of others must not be (RFC 3597 section 4).
func (p *packer) record(rr dns.RR) {
	h := rr.Header()
	if h.Name == p.qname {
		p.body = append(p.body, 0xC0, 12) // the question's name
	} else {
		p.name(h.Name)
	}
	p.body = binary.BigEndian.AppendUint16(p.body, h.Rrtype)
	p.body = binary.BigEndian.AppendUint16(p.body, h.Class)
	p.body = binary.BigEndian.AppendUint32(p.body, h.Ttl)
	at := len(p.body)
	p.body = append(p.body, 0, 0)
	switch rr := rr.(type) {
	case *dns.PTR:
		p.name(rr.Ptr)
	case *dns.NS:
		p.name(rr.Ns)
	case *dns.CNAME:
		p.name(rr.Target)
	case *dns.MX:
		p.body = binary.BigEndian.AppendUint16(p.body, rr.Preference)
		p.name(rr.Mx)
	case *dns.SOA:
		p.name(rr.Ns)
		p.name(rr.Mbox)
		for _, v := range []uint32{rr.Serial, rr.Refresh, rr.Retry, rr.Expire, rr.Minttl} {
			p.body = binary.BigEndian.AppendUint32(p.body, v)
		}
	default:
		p.data(rr)
	}
	binary.BigEndian.PutUint16(p.body[at:], uint16(len(p.body)-at-2))
}

// data appends the data of rr as the library packs it.
func (p *packer) data(rr dns.RR) {
	buf := make([]byte, dns.Len(rr)+1)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		p.err = fmt.Errorf("pack %q: %w", rr, err)
		return
	}
	p.body = append(p.body, buf[len(wireName(rr.Header().Name))+10:end]...)
}

// name appends a name, compressed to the apex when it is below it. The pointer
// is filled in by Tail.Copy.
func (p *packer) name(name string) {
	wire := wireName(name)
	if len(wire) == 0 {
		p.err = fmt.Errorf("%q is not a domain name", name)
		return
	}
	canonical := dns.CanonicalName(name)
	if p.apex == "" || p.apex == "." || !within(canonical, p.apex) {
		p.body = append(p.body, wire...)
		return
	}
	p.body = append(p.body, wire[:len(wire)-len(wireName(p.apex))]...)
	p.fixups = append(p.fixups, uint16(len(p.body)))
	p.body = append(p.body, 0, 0)
}

// wireName gives name in wire format, lower case; nothing if it is not a name.
func wireName(name string) []byte {
	if name == "" {
		return nil
	}
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(dns.CanonicalName(name), buf, 0, nil, false)
	if err != nil {
		return nil
	}
	return buf[:n]
}
