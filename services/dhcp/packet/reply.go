package packet

import (
	"bytes"
	"net/netip"
)

const (
	// smallest and largest are the limits of option 57: every client takes 576
	// bytes (RFC 2131 section 2), and OVMF asks for 65280 on a 1500 byte link.
	smallest = 576
	largest  = 1472
	// leastMessage is the size that BOOTP relays and old clients want (RFC 1542 section 2.1).
	leastMessage = 300
	ipUDP        = 28
)

// Buffer is the capacity a reply's buffer must have, in bytes.
const Buffer = largest

// A Reply is a message under construction. Values that Add and AddMust take
// must stay as they are until Finish.
type Reply struct {
	buf     []byte
	limit   int
	must    int // bytes that options still to be written need
	options []option
	fields  [2]spare // file and sname, as far as Overload lets options in
	overlay int      // where the value of option 52 is; 0: not written
}

type option struct {
	code byte
	must bool
	done bool // written, or refused for good
	val  []byte
}

// Start begins a reply of type t to req in buf, which has a capacity of Buffer.
// Type 0 is the answer to BOOTP.
func (w *Reply) Start(buf []byte, req *Request, t Type) {
	b := buf[:optionsStart]
	clear(b)
	b[0], b[1], b[2] = 2, 1, 6
	copy(b[4:8], req.raw[4:8])     // xid
	copy(b[10:12], req.raw[10:12]) // flags
	copy(b[24:28], req.raw[24:28]) // giaddr
	copy(b[28:44], req.raw[28:44]) // chaddr
	copy(b[headerSize:], cookie[:])
	w.must = 1 // end
	w.options = w.options[:0]
	w.fields, w.overlay = [2]spare{}, 0
	if t == 0 {
		w.startBOOTP(b, req)
		return
	}
	w.buf = append(b, MessageType, 1, byte(t))
	// What the relay put in it takes out again: the client's limit is not for it (RFC 3046 section 2.1).
	w.limit = min(max(req.MaxSize, smallest)+relayed(req), largest) - ipUDP
}

func relayed(req *Request) int {
	if len(req.RelayInfo) == 0 {
		return 0
	}
	return size(req.RelayInfo)
}

// Client sets ciaddr.
func (w *Reply) Client(a netip.Addr) { w.addr(12, a) }

// Your sets yiaddr.
func (w *Reply) Your(a netip.Addr) { w.addr(16, a) }

// Next sets siaddr, the server of the boot file.
func (w *Reply) Next(a netip.Addr) { w.addr(20, a) }

func (w *Reply) addr(off int, a netip.Addr) {
	if a.IsValid() {
		b := a.As4()
		copy(w.buf[off:], b[:])
	}
}

// File sets the boot file field, unless name is too long for it: then option 67 alone says it.
func (w *Reply) File(name string) {
	if len(name) < 128 {
		copy(w.buf[fileStart:headerSize], name)
	}
}

// SetBroadcast sets the broadcast flag: a relay must not unicast this to an address that the client does not have.
func (w *Reply) SetBroadcast() { w.buf[10] |= 0x80 }

// Add adds an option that the client gets if it asks for it, or asks for nothing, and there is room.
func (w *Reply) Add(code byte, val []byte) {
	w.options = append(w.options, option{code: code, val: val})
}

// AddMust adds an option that the client gets in any case.
func (w *Reply) AddMust(code byte, val []byte) {
	w.options = append(w.options, option{code: code, must: true, val: val})
	w.must += size(val)
}

// Finish writes the options in the order of params, then the rest in the order
// they were added, and gives the message.
func (w *Reply) Finish(params []byte) []byte {
	routes := bytes.IndexByte(params, ClasslessRoutes) >= 0 && w.find(ClasslessRoutes) != nil
	routed := false
	for _, code := range params {
		if code == RelayInfo {
			continue // last of all (RFC 3046 section 2.1)
		}
		if code == Router {
			if routes {
				continue // RFC 3442: not beside option 121, which has the default route
			}
			w.write(w.find(SubnetMask)) // RFC 2132 section 3.3: before the router
		}
		routed = w.write(w.find(code)) && code == ClasslessRoutes || routed
	}
	if routes && !routed {
		w.write(w.find(SubnetMask))
		w.write(w.find(Router)) // the routes did not fit: better this way out than none
	}
	for i := range w.options {
		if o := &w.options[i]; o.must || len(params) == 0 && o.code < DomainSearch {
			w.write(o)
		}
	}
	if w.limit > optionsStart {
		w.buf = append(w.buf, end)
	}
	for len(w.buf) < leastMessage {
		w.buf = append(w.buf, pad)
	}
	return w.buf
}

// find gives the first option of a code that is still to be written, or nil.
func (w *Reply) find(code byte) *option {
	for i := range w.options {
		if o := &w.options[i]; o.code == code && !o.done {
			return o
		}
	}
	return nil
}

// write writes o if there is room, and reports whether it did; what did not fit is not tried again.
func (w *Reply) write(o *option) bool {
	if o == nil || o.done {
		return false
	}
	o.done = true
	n, reserved := size(o.val), w.must
	if o.must { // those that were added first go first
		w.must -= n
		reserved = 1
	}
	if len(w.buf)+n+reserved > w.limit {
		return w.spill(o, reserved)
	}
	for v := o.val; ; { // RFC 3396: a long value in several instances
		part := v[:min(len(v), 255)]
		w.buf = append(append(w.buf, o.code, byte(len(part))), part...)
		if v = v[len(part):]; len(v) == 0 {
			return true
		}
	}
}

// size is what an option takes on the wire, in bytes.
func size(val []byte) int { return len(val) + 2*max(1, (len(val)+254)/255) }
