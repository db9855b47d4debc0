package zone

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// A Table answers for all names of a plan. It is immutable.
type Table struct {
	nodes    map[string]*node // by lower-case name in wire format
	maxDepth int              // labels of the deepest name
	reverse  []netip.Prefix
}

// node is what is known of one name.
type node struct {
	sets []set
	// other answers every type that has no set: NODATA, or where a CNAME leads.
	// Nil at a single name, whose other types may be known elsewhere.
	other *Tail
	any   *Tail
	wild  *node // the wildcard below this name
	zone  *authority
	// exists is false for a name that only holds the wildcard of single names below it.
	exists bool
}

type set struct {
	qtype uint16
	tail  *Tail
}

// authority is a zone, or the names of one that are not all ours.
type authority struct {
	apex    string
	apexLen int   // bytes of the apex in wire format
	nodata  *Tail // nil: neighbours are not ours
	absent  *Tail // NXDOMAIN; nil likewise
}

// A Tail is everything of a reply behind its question.
type Tail struct {
	body           []byte
	fixups         []uint16 // offsets in body of compression pointers to the apex
	apexLen        int
	Answer, Author uint16 // records in the answer and authority sections
	Rcode          uint8
	// Target is where a CNAME leads that is not ours, in presentation form; empty: nowhere.
	Target string
}

// Len is the length of the tail in bytes.
func (t *Tail) Len() int { return len(t.body) }

// Copy writes the tail to out, which follows the 12 bytes of header and the
// question of a message. nameLen is the length of the question's name, to whose end,
// the apex, names in the tail are compressed (RFC 1035 section 4.1.4).
func (t *Tail) Copy(out []byte, nameLen int) int {
	n := copy(out, t.body)
	pointer := uint16(0xC000 | (12 + nameLen - t.apexLen))
	for _, at := range t.fixups {
		binary.BigEndian.PutUint16(out[at:], pointer)
	}
	return n
}

// Kind says whose a name is.
type Kind uint8

// The kinds.
const (
	Foreign Kind = iota // not ours
	Ours                // the tail answers with authority
	Single              // the name is ours, the type is not: others may know it
)

// Find looks name up, which is lower case and in wire format. labels are the
// offsets of its labels, without the root. The tail is nil unless the kind is Ours.
func (t *Table) Find(name []byte, labels []uint8, qtype uint16) (*Tail, Kind) {
	if n := t.nodes[string(name)]; n != nil {
		if !n.exists {
			return nil, Foreign
		}
		return n.find(qtype)
	}
	// The closest encloser is at most as deep as the deepest name: a name of 127
	// labels must not cost 127 lookups.
	for i := max(1, len(labels)-t.maxDepth); i < len(labels); i++ {
		n := t.nodes[string(name[labels[i]:])]
		switch {
		case n == nil:
			continue
		case n.wild != nil:
			return n.wild.find(qtype)
		case n.zone.absent != nil:
			return n.zone.absent, Ours
		}
		return nil, Foreign
	}
	return nil, Foreign
}

func (n *node) find(qtype uint16) (*Tail, Kind) {
	for i := range n.sets {
		if n.sets[i].qtype == qtype {
			return n.sets[i].tail, Ours
		}
	}
	if qtype == dns.TypeANY && n.any != nil {
		return n.any, Ours
	}
	if n.other == nil {
		return nil, Single
	}
	return n.other, Ours
}

// Unknown reports whether name is the reverse name of an address of a
// declared network. Ask it for names that Find calls Foreign.
func (t *Table) Unknown(name []byte, labels []uint8) bool {
	if len(t.reverse) == 0 {
		return false
	}
	addr, ok := reverseAddr(name, labels)
	if !ok {
		return false
	}
	for _, p := range t.reverse {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

const (
	inAddrARPA = "\x07in-addr\x04arpa\x00"
	ip6ARPA    = "\x03ip6\x04arpa\x00"
)

// reverseAddr reads d.c.b.a.in-addr.arpa (RFC 1035 section 3.5) and the nibbles of ip6.arpa (RFC 3596 section 2.5).
func reverseAddr(name []byte, labels []uint8) (netip.Addr, bool) {
	switch {
	case len(labels) == 4+2 && string(name[labels[4]:]) == inAddrARPA:
		var a [4]byte
		for i := range 4 {
			v := 0
			digits := name[labels[i]+1 : labels[i+1]]
			for _, c := range digits {
				if c < '0' || c > '9' || len(digits) > 3 {
					return netip.Addr{}, false
				}
				v = 10*v + int(c-'0')
			}
			if v > 255 || len(digits) > 1 && digits[0] == '0' {
				return netip.Addr{}, false
			}
			a[3-i] = byte(v)
		}
		return netip.AddrFrom4(a), true
	case len(labels) == 32+2 && string(name[labels[32]:]) == ip6ARPA:
		var a [16]byte
		for i := range 32 {
			if name[labels[i]] != 1 {
				return netip.Addr{}, false
			}
			var v byte
			switch c := name[labels[i]+1]; {
			case c >= '0' && c <= '9':
				v = c - '0'
			case c >= 'a' && c <= 'f':
				v = c - 'a' + 10
			default:
				return netip.Addr{}, false
			}
			a[15-i/2] |= v << (4 * (i % 2)) // the lowest nibble comes first
		}
		return netip.AddrFrom16(a), true
	}
	return netip.Addr{}, false
}
