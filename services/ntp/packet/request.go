package packet

import "encoding/binary"

// HeaderLen in bytes is the shortest packet.
const HeaderLen = 48

// Modes of association (RFC 5905 figure 10).
const (
	ModeClient = 3
	ModeServer = 4
)

// A Request is what an answer needs of a client's packet.
type Request struct {
	Version  uint8 // 1 to 4
	Poll     int8  // of the client, log2 of seconds
	Transmit Time  // of the client's clock; chrony and OpenNTPD send a random number, some send 0
	Signed   bool  // it ends with a code of authentication
}

// A Verdict says what a packet is.
type Verdict int

// The verdicts.
const (
	Client    Verdict = iota // a request to be answered
	Other                    // another mode, or a version that is not ours: control, private use, peers, broadcast, answers
	Malformed                // too short, or with rubbish behind the header
)

// Parse reads p. The request is valid only if the verdict is Client.
func (r *Request) Parse(p []byte) Verdict {
	if len(p) == 0 {
		return Malformed
	}
	// Modes 6 and 7 have packets of their own, shorter than a header.
	r.Version = p[0] >> 3 & 7
	// Version 1 had no modes (RFC 1059): its clients send 0, which no answer has.
	client := p[0]&7 == ModeClient || p[0]&7 == 0 && r.Version == 1
	if !client || r.Version < 1 || r.Version > 4 {
		return Other
	}
	if len(p) < HeaderLen {
		return Malformed
	}
	var ok bool
	if r.Signed, ok = signed(p[HeaderLen:], r.Version); !ok {
		return Malformed
	}
	r.Poll = int8(p[2])
	r.Transmit = Time(binary.BigEndian.Uint64(p[40:]))
	return Client
}

const (
	// minField in bytes is the shortest extension field (RFC 7822 section 3).
	minField = 16
	// minCode and maxCode in bytes are a key's number with the code of DES, which
	// version 3 began with, and of SHA-512.
	minCode, maxCode = 4 + 8, 4 + 64
	// maxCode4 in bytes is the longest code of version 4: what is longer is a
	// field (RFC 7822 section 3).
	maxCode4 = 4 + 20
)

// signed reports whether rest, which follows the header, ends with a code of
// authentication, and whether it is well formed at all.
func signed(rest []byte, version uint8) (code, ok bool) {
	if len(rest)%4 != 0 {
		return false, false
	}
	if version < 4 {
		return len(rest) > 0, len(rest) == 0 || len(rest) >= minCode && len(rest) <= maxCode
	}
	for len(rest) > maxCode4 {
		n := int(binary.BigEndian.Uint16(rest[2:]))
		if n < minField || n%4 != 0 || n > len(rest) {
			return false, false
		}
		rest = rest[n:]
	}
	switch len(rest) {
	case 0:
		return false, true
	case minField: // a last field of this length wants a code behind it; it is harmless without
		return false, binary.BigEndian.Uint16(rest[2:]) == minField
	case minCode, 20, maxCode4: // DES, MD5, SHA-1
		return true, true
	}
	return false, false
}
