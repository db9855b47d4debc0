package peek

// Name is room for the name of a ClientHello, which may lie in several records.
type Name [255]byte

// Numbers of TLS (RFC 8446, sections 4 and 5.1; RFC 6066, section 3).
const (
	recordHandshake = 22
	recordMost      = 1 << 14 // bytes of a plaintext record
	typeClientHello = 1
	extServerName   = 0
	nameTypeHost    = 0
)

// ServerName gives the first host name that the ClientHello in b asks for, which
// it puts in room.
func ServerName(b []byte, room *Name) ([]byte, Outcome) {
	h := hello{rest: b, limit: 4, state: Found}
	if kind := h.uint(1); h.state == Found && kind != typeClientHello {
		return nil, Garbage
	}
	h.limit = h.uint(3)
	h.skip(2 + 32)    // legacy_version, random
	h.skip(h.uint(1)) // legacy_session_id
	h.skip(h.uint(2)) // cipher_suites
	h.skip(h.uint(1)) // legacy_compression_methods
	if h.state == Found && h.limit == 0 {
		return nil, Absent // no extensions: TLS 1.2 and before may do so
	}
	if all := h.uint(2); h.state == Found && all != h.limit {
		return nil, Garbage
	}
	for h.state == Found && h.limit > 0 {
		kind, size := h.uint(2), h.uint(2)
		if kind == extServerName && h.state == Found {
			return h.serverName(size, room)
		}
		h.skip(size)
	}
	return nil, h.absent()
}

// A hello reads the handshake bytes of TLS records, which may cut a message
// anywhere. Once state is not Found, all reads give zeros.
type hello struct {
	rest  []byte
	left  int // bytes of the record at hand
	limit int // bytes of the message
	state Outcome
}

// absent is the outcome when all was read and no name was there.
func (h *hello) absent() Outcome {
	if h.state == Found {
		return Absent
	}
	return h.state
}

// serverName reads a server_name extension of size bytes.
func (h *hello) serverName(size int, room *Name) ([]byte, Outcome) {
	left := size - 2
	if list := h.uint(2); h.state == Found && (list != left || left > h.limit) {
		return nil, Garbage
	}
	for h.state == Found && left > 0 {
		kind, n := h.uint(1), h.uint(2)
		if left -= 3 + n; h.state == Found && left < 0 {
			return nil, Garbage
		}
		if kind != nameTypeHost || n == 0 || n > len(room) {
			h.skip(n)
			continue
		}
		if h.read(room[:n], n); h.state == Found {
			return room[:n], Found
		}
	}
	return nil, h.absent()
}

// uint reads a big-endian number of n bytes.
func (h *hello) uint(n int) int {
	var b [3]byte
	h.read(b[:n], n)
	if h.state != Found {
		return 0
	}
	v := 0
	for _, c := range b[:n] {
		v = v<<8 | int(c)
	}
	return v
}

func (h *hello) skip(n int) { h.read(nil, n) }

// read takes n bytes of the message, and copies them to p unless it is nil.
func (h *hello) read(p []byte, n int) {
	if h.state != Found {
		return
	}
	if n > h.limit {
		h.state = Garbage
		return
	}
	h.limit -= n
	for n > 0 {
		if h.left == 0 && !h.record() {
			return
		}
		k := min(n, h.left, len(h.rest))
		if k == 0 {
			h.state = More
			return
		}
		if p != nil {
			p = p[copy(p, h.rest[:k]):]
		}
		h.rest, h.left, n = h.rest[k:], h.left-k, n-k
	}
}

// record reads the header of the next record; false when there is none. What
// is no TLS, such as a hello of SSL 2, is known by its first bytes.
func (h *hello) record() bool {
	const header = 5
	b := h.rest
	h.state = More
	if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != 3 {
		h.state = Garbage
		return false
	}
	if len(b) < header {
		return false
	}
	h.left = int(b[3])<<8 | int(b[4])
	if h.left == 0 || h.left > recordMost {
		h.state = Garbage
		return false
	}
	h.rest, h.state = b[header:], Found
	return true
}
