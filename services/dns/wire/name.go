package wire

import "github.com/miekg/dns"

// String is the name that is asked for in presentation form.
func (q *Query) String() string {
	name, _, err := dns.UnpackDomainName(q.Name(), 0)
	if err != nil {
		return ""
	}
	return name
}

// SetName makes name, in presentation form, the one that is asked for. It
// reports whether it is a domain name.
func (q *Query) SetName(name string) bool {
	n, err := dns.PackDomainName(dns.CanonicalName(name), q.name[:], 0, nil, false)
	if err != nil {
		return false
	}
	q.nameLen, q.labelCount = n, 0
	for at := 0; q.name[at] != 0; at += 1 + int(q.name[at]) {
		q.labels[q.labelCount] = uint8(at)
		q.labelCount++
	}
	return true
}
