package wire

import "encoding/binary"

// Sizes in bytes.
const (
	headerLen = 12
	// MaxUDP is the largest reply over UDP, and the payload size that we announce: it is not fragmented on any usual path.
	MaxUDP = 1232
	minUDP = 512
	optLen = 11
)

// Response codes (RFC 1035 section 4.1.1, RFC 6891, RFC 8945).
const (
	rcodeSuccess  = 0
	rcodeFormErr  = 1
	rcodeNotImp   = 4
	rcodeRefused  = 5
	rcodeNXDomain = 3
	rcodeNotAuth  = 9
	badVersion    = 16
	badKey        = 17
)

// Types that have a meaning of their own here.
const (
	typeOPT   = 41
	typeTKEY  = 249
	typeTSIG  = 250
	typeIXFR  = 251
	typeAXFR  = 252
	typeMAILB = 253
	typeMAILA = 254
	classIN   = 1
)

const (
	opQuery  = 0
	opNotify = 4
	opUpdate = 5
)

// A Query is a parsed question. Parse fills it anew; it belongs to one goroutine.
type Query struct {
	Type, Class uint16
	Recursion   bool // RD
	name        [255]byte
	nameLen     int
	labels      [127]uint8
	labelCount  int

	opcode  byte
	end     int // offset behind the question; 0: there is none that could be echoed
	edns    bool
	version byte
	dnssec  bool // DO
	payload int

	tsig     int // offset of a TSIG record; 0: none
	tsigData int // offset of its data
}

// Name is the name that is asked for, lower case and in wire format, and
// Labels are the offsets of its labels. Both are valid until the next Parse.
func (q *Query) Name() []byte { return q.name[:q.nameLen] }

// Labels of the name.
func (q *Query) Labels() []uint8 { return q.labels[:q.labelCount] }

// Parsed reports whether the message was well formed.
func (q *Query) Parsed() bool { return q.end != 0 }

// Limit is the largest reply over UDP that the client takes, in bytes.
func (q *Query) Limit() int { return min(max(minUDP, q.payload), MaxUDP) }

// parse walks the whole message, which is at least a header. It returns the
// response code for a message that is not well formed, or 0.
func (q *Query) parse(msg []byte) byte {
	q.opcode = msg[2] >> 3 & 15
	q.Recursion = msg[2]&1 != 0
	q.end, q.tsig, q.edns, q.dnssec, q.version, q.payload = 0, 0, false, false, 0, 0
	if q.opcode != opQuery && q.opcode != opNotify && q.opcode != opUpdate {
		return rcodeNotImp
	}
	if binary.BigEndian.Uint16(msg[4:]) != 1 { // RFC 9619
		return rcodeFormErr
	}
	at := q.question(msg)
	if at == 0 {
		return rcodeFormErr
	}
	answers, authors := binary.BigEndian.Uint16(msg[6:]), binary.BigEndian.Uint16(msg[8:])
	if q.opcode == opQuery && (answers != 0 || authors != 0 && q.Type != typeIXFR) {
		return rcodeFormErr
	}
	records := int(answers) + int(authors) + int(binary.BigEndian.Uint16(msg[10:]))
	for i := 1; i <= records; i++ {
		if at = q.record(msg, at, i == records); at == 0 {
			return rcodeFormErr
		}
	}
	if at != len(msg) {
		return rcodeFormErr
	}
	q.end = headerLen + q.nameLen + 4
	return rcodeSuccess
}

// question reads the name, type and class, and returns the offset behind them, or 0.
func (q *Query) question(msg []byte) int {
	q.labelCount = 0
	at := headerLen
	for {
		if at >= len(msg) {
			return 0
		}
		n := int(msg[at])
		to := at - headerLen
		if n == 0 {
			q.name[to] = 0
			q.nameLen = to + 1
			break
		}
		// A pointer (RFC 1035 section 4.1.4) has nothing to point to in a question. With the
		// root behind it, a name of at most 255 bytes has at most 127 labels.
		if n > 63 || at+1+n > len(msg) || to+1+n >= len(q.name) {
			return 0
		}
		q.labels[q.labelCount] = uint8(to)
		q.labelCount++
		q.name[to] = byte(n)
		for i, c := range msg[at+1 : at+1+n] {
			if c-'A' < 26 {
				c |= 0x20
			}
			q.name[to+1+i] = c
		}
		at += 1 + n
	}
	at++
	if at+4 > len(msg) {
		return 0
	}
	q.Type, q.Class = binary.BigEndian.Uint16(msg[at:]), binary.BigEndian.Uint16(msg[at+2:])
	return at + 4
}

// record walks one record and returns the offset behind it, or 0.
func (q *Query) record(msg []byte, at int, last bool) int {
	owner := at
	if at = skipName(msg, at); at == 0 || at+10 > len(msg) {
		return 0
	}
	rtype, size := binary.BigEndian.Uint16(msg[at:]), int(binary.BigEndian.Uint16(msg[at+8:]))
	data := at + 10
	end := data + size
	if end > len(msg) {
		return 0
	}
	switch rtype {
	case typeOPT:
		if q.edns || msg[owner] != 0 || !options(msg[data:end]) { // one OPT, owned by the root (RFC 6891 section 6.1.1)
			return 0
		}
		q.edns = true
		q.payload = int(binary.BigEndian.Uint16(msg[at+2:]))
		q.version = msg[at+5]
		q.dnssec = msg[at+6]&0x80 != 0
	case typeTSIG:
		if !last { // RFC 8945 section 5.1
			return 0
		}
		q.tsig, q.tsigData = owner, data
	}
	return end
}

// options reports whether the lengths of the options in an OPT record add up.
func options(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if 4+n > len(b) {
			return false
		}
		if code == 10 && n != 8 && (n < 16 || n > 40) { // COOKIE (RFC 7873 section 5.2.2)
			return false
		}
		b = b[4+n:]
	}
	return true
}

// skipName returns the offset behind the name at at, or 0.
func skipName(msg []byte, at int) int {
	start := at
	for at < len(msg) && at-start < 255 {
		n := int(msg[at])
		switch {
		case n == 0:
			return at + 1
		case n >= 0xC0:
			// A pointer leads back (RFC 1035 section 4.1.4).
			if at+2 > len(msg) || (n&0x3F)<<8|int(msg[at+1]) >= start {
				return 0
			}
			return at + 2
		case n > 63:
			return 0
		}
		at += 1 + n
	}
	return 0
}
