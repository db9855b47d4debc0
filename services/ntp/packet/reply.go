package packet

import "encoding/binary"

// MaxReply in bytes is the longest answer: a header and a crypto-NAK. The
// request that gets it is longer, so no answer is larger than what it answers.
const MaxReply = HeaderLen + 4

// Unsynchronised is the leap indicator of a clock that nobody should follow.
const Unsynchronised = 3

// A Header is what an answer says of the clock, the same for all who ask.
type Header struct {
	Leap           uint8 // 0; 1: the day's last minute has 61 seconds; 2: it has 59; Unsynchronised
	Stratum        uint8
	Precision      int8   // log2 of seconds
	RootDelay      uint32 // as Short gives it
	RootDispersion uint32
	RefID          [4]byte
	RefTime        Time // when the clock was set last
}

// Reply writes the answer to r, which came in at that time, without its
// transmit time, and gives its length. A request that is signed is answered by
// a crypto-NAK (RFC 5905 section 9.2): there are no keys here, and an answer without a code
// would be dropped as forged, without a word to anybody.
func (r *Request) Reply(out []byte, h *Header, received Time) int {
	out[0] = h.Leap<<6 | r.Version<<3 | ModeServer
	out[1], out[2], out[3] = h.Stratum, byte(r.Poll), byte(h.Precision)
	be := binary.BigEndian
	be.PutUint32(out[4:], h.RootDelay)
	be.PutUint32(out[8:], h.RootDispersion)
	copy(out[12:16], h.RefID[:])
	be.PutUint64(out[16:], uint64(h.RefTime.atMost(received)))
	be.PutUint64(out[24:], uint64(r.Transmit))
	be.PutUint64(out[32:], uint64(received))
	be.PutUint64(out[40:], 0)
	if !r.Signed {
		return HeaderLen
	}
	be.PutUint32(out[HeaderLen:], 0)
	return MaxReply
}

// Stamp writes the transmit time of an answer.
func Stamp(reply []byte, now Time) { binary.BigEndian.PutUint64(reply[40:], uint64(now)) }

// calm is the poll interval that a client is told which asks too often, in log2 of seconds.
const calm = 4

// Kiss writes the kiss-o'-death that asks the client to slow down (RFC 5905
// section 7.4, code RATE) and gives its length. Its times are the client's own:
// nobody can set a clock by it.
func (r *Request) Kiss(out []byte) int {
	clear(out[:HeaderLen])
	out[0], out[2] = Unsynchronised<<6|r.Version<<3|ModeServer, byte(max(r.Poll, calm))
	copy(out[12:16], "RATE")
	for _, at := range []int{24, 32, 40} {
		binary.BigEndian.PutUint64(out[at:], uint64(r.Transmit))
	}
	return HeaderLen
}
