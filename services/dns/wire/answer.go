package wire

import (
	"encoding/binary"

	"helperd/services/dns/zone"
)

// A Client is what counts of the one who asks.
type Client struct {
	Recurse bool // may ask for what is not ours, and there are forwarders
	Stream  bool // asks over TCP: replies are limited by the format alone
}

// Next says what is to be done after Answer.
type Next uint8

// The steps.
const (
	Send  Next = iota // send the reply
	Drop              // no reply: not a query
	Ask               // ask the forwarders; there is no reply yet
	Chase             // the reply ends in a CNAME: ask the forwarders for Target and append their answer
)

// MaxReply is the size of a buffer that every reply to c fits in.
func (c Client) MaxReply() int {
	if c.Stream {
		return 65535
	}
	return MaxUDP
}

// Answer parses msg into q and writes the reply to out, which holds c.MaxReply
// bytes. It returns the length of the reply and what is to be done. For Ask and
// Chase, q describes the question, and the target is where a CNAME leads.
func Answer(t *zone.Table, c Client, q *Query, msg, out []byte) (n int, next Next, target string) {
	if len(msg) < headerLen || msg[2]&0x80 != 0 { // too short to be answered, or an answer itself
		return 0, Drop, ""
	}
	if rcode := q.parse(msg); rcode != rcodeSuccess {
		return q.bare(msg, out, rcode), Send, ""
	}
	if rcode, special := q.refuse(); special {
		return q.deny(c, msg, out, rcode), Send, ""
	}
	tail, kind := t.Find(q.Name(), q.Labels(), q.Type)
	ask := c.Recurse && q.Recursion
	switch {
	case tail != nil && tail.Target != "" && ask:
		return q.reply(c, tail, msg, out), Chase, tail.Target
	case tail != nil:
		return q.reply(c, tail, msg, out), Send, ""
	case ask:
		return 0, Ask, ""
	case kind == zone.Single:
		return q.reply(c, &nothing, msg, out), Send, ""
	case t.Unknown(q.Name(), q.Labels()):
		return q.reply(c, &absent, msg, out), Send, ""
	}
	return q.deny(c, msg, out, rcodeRefused), Send, ""
}

// Denials of names that are in no zone: there is no SOA to go with them.
var (
	nothing = zone.Tail{}
	absent  = zone.Tail{Rcode: rcodeNXDomain}
)

// Failure writes a reply to msg, which q was parsed from, that carries nothing but rcode.
func Failure(q *Query, c Client, msg, out []byte, rcode uint8) int {
	return q.deny(c, msg, out, uint16(rcode))
}

// refuse says which well-formed messages are not looked up, and why.
func (q *Query) refuse() (rcode uint16, special bool) {
	switch {
	case q.edns && q.version != 0:
		return badVersion, true
	case q.tsig != 0:
		return rcodeNotAuth, true
	case q.opcode != opQuery, q.Class != classIN, q.Type == typeAXFR, q.Type == typeIXFR:
		return rcodeRefused, true
	case q.Type == typeOPT:
		return rcodeFormErr, true
	case q.Type == typeTKEY, q.Type == typeTSIG, q.Type == typeMAILA, q.Type == typeMAILB:
		return rcodeNotImp, true
	}
	return 0, false
}

// bare answers a message whose question cannot be echoed: only a header.
func (q *Query) bare(msg, out []byte, rcode byte) int {
	clear(out[:headerLen])
	copy(out, msg[:2])
	out[2] = 0x80 | msg[2]&0x79 // QR, the opcode and RD
	out[3] = rcode
	return headerLen
}

// head writes the header and the question, without counts but that of the question.
func (q *Query) head(c Client, msg, out []byte, rcode byte) int {
	copy(out, msg[:q.end]) // as sent, in the client's capitals
	out[2] = 0x80 | msg[2]&0x79
	out[3] = rcode | msg[3]&0x10 // CD
	if c.Recurse {
		out[3] |= 0x80
	}
	clear(out[6:headerLen])
	return q.end
}

// deny answers with a code alone. BADVERS and the like are split between header and OPT (RFC 6891 section 6.1.3).
func (q *Query) deny(c Client, msg, out []byte, rcode uint16) int {
	n := q.head(c, msg, out, byte(rcode&15))
	if q.edns {
		n = q.opt(out, n, byte(rcode>>4))
	}
	if q.tsig != 0 {
		n = q.badKey(msg, out, n)
	}
	return n
}

func (q *Query) reply(c Client, t *zone.Tail, msg, out []byte) int {
	limit := q.Limit()
	if c.Stream {
		limit = 65535
	}
	need := q.end + t.Len()
	if q.edns {
		need += optLen
	}
	n := q.head(c, msg, out, t.Rcode)
	out[2] |= 0x04 // AA
	if need > limit {
		out[2] |= 0x02 // TC: ask by TCP
	} else {
		binary.BigEndian.PutUint16(out[6:], t.Answer)
		binary.BigEndian.PutUint16(out[8:], t.Author)
		n += t.Copy(out[n:], q.nameLen)
	}
	if q.edns {
		n = q.opt(out, n, 0)
	}
	return n
}

// opt appends our OPT record: DO is echoed, options are not.
func (q *Query) opt(out []byte, n int, extended byte) int {
	o := out[n : n+optLen]
	o[0], o[1], o[2], o[3], o[4] = 0, 0, typeOPT, MaxUDP>>8, MaxUDP&255
	o[5], o[6], o[7], o[8], o[9], o[10] = extended, 0, 0, 0, 0, 0
	if q.dnssec {
		o[7] = 0x80
	}
	out[11]++
	return n + optLen
}

// badKey appends the unsigned TSIG record that says the key is not known (RFC
// 8945 section 5.2.1). A record with compressed or odd contents is left unanswered by one.
func (q *Query) badKey(msg, out []byte, n int) int {
	algorithm := msg[q.tsigData:]
	end := plainName(algorithm)
	owner := plainName(msg[q.tsig:])
	if owner == 0 || end == 0 || len(algorithm) < end+10 {
		return n
	}
	mac := int(binary.BigEndian.Uint16(algorithm[end+8:]))
	if len(algorithm) < end+10+mac+6 || n+owner+10+end+16 > MaxUDP {
		return n
	}
	n += copy(out[n:], msg[q.tsig:q.tsig+owner])
	n += copy(out[n:], []byte{0, typeTSIG, 0, 255, 0, 0, 0, 0, 0, byte(end + 16)}) // class ANY, TTL 0
	if end+16 > 255 {
		out[n-2] = 1
	}
	n += copy(out[n:], algorithm[:end+8])                  // name, time, fudge
	n += copy(out[n:], []byte{0, 0})                       // no MAC
	n += copy(out[n:], algorithm[end+10+mac:end+10+mac+2]) // original ID
	n += copy(out[n:], []byte{0, badKey, 0, 0})            // error, no other data
	out[11]++
	return n
}

// plainName is the length of the uncompressed name that b starts with, or 0.
func plainName(b []byte) int {
	for at := 0; at < len(b) && at < 255; at += 1 + int(b[at]) {
		if b[at] == 0 {
			return at + 1
		}
		if b[at] > 63 {
			return 0
		}
	}
	return 0
}
