package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"helperd/plan"
)

// Errors of Parse. They are values without detail: nothing is said to the
// sender of a broken packet.
var (
	ErrShort   = errors.New("packet is shorter than a DHCP message")
	ErrForeign = errors.New("not a DHCP message for Ethernet in this direction")
	ErrOptions = errors.New("an option runs over the end of its field")
)

// A Request is a parsed message. Its slices point into the packet, or into a
// buffer of the Request, and are valid until the next Parse. The zero value is
// ready for use and is meant to be reused.
type Request struct {
	Type      Type // 0: BOOTP, or not readable
	BOOTP     bool // there is no option 53 (RFC 1534)
	XID       uint32
	Broadcast bool // the client cannot receive unicast before it has an address

	// Addresses are not valid when they are 0.0.0.0 or absent.
	Client    netip.Addr // ciaddr
	Your      netip.Addr // yiaddr: of replies only
	Relay     netip.Addr // giaddr
	Requested netip.Addr // option 50
	Server    netip.Addr // option 54
	// Link is the subnet that a relay or the client names: option 82.5 with a relay, or 118.
	Link netip.Addr
	// Selected is set when Link came by option 118, which is echoed (RFC 3011).
	Selected bool
	// Override is the server id that a relay wants the client to see (option 82.11, RFC 5107).
	Override netip.Addr

	MAC         plan.MAC // chaddr
	ID          []byte   // option 61
	Params      []byte   // option 55
	VendorClass []byte   // option 60
	Hostname    []byte   // option 12
	RelayInfo   []byte   // option 82
	Archs       []byte   // option 93: two bytes each
	UUID        []byte   // 16 bytes of option 97 (RFC 4578 section 2.3)
	Rapid       bool     // option 80: the client takes an ACK for its DISCOVER (RFC 4039)
	IPXE        bool     // by option 77 or 175
	MaxSize     int      // option 57 in bytes, IP and UDP headers in it; 0: absent

	raw    []byte
	bare   bool      // no magic cookie, so no options either
	areas  [3][]byte // options, file, sname: the order of RFC 3396
	first  [256]span
	count  [256]uint8
	joined []byte
}

// span is where an option's value lies in raw.
type span struct{ off, len uint16 }

// Parse reads a client's or relay's message.
func (r *Request) Parse(p []byte) error { return r.parse(p, 1) }

// ParseReply reads a server's message.
func (r *Request) ParseReply(p []byte) error { return r.parse(p, 2) }

func (r *Request) parse(p []byte, op byte) error {
	if len(p) < optionsStart {
		return ErrShort
	}
	bare := [cookieSize]byte(p[headerSize:]) == [cookieSize]byte{} // as BOOTP was before RFC 1048
	if len(p) > 1<<16-1 || p[0] != op || p[1] != 1 || p[2] != 6 || [cookieSize]byte(p[headerSize:]) != cookie && !bare {
		return ErrForeign
	}
	*r = Request{raw: p, joined: r.joined[:0], bare: bare}
	r.Broadcast = p[10]&0x80 != 0
	r.Client, r.Your, r.Relay = addr(p[12:16]), addr(p[16:20]), addr(p[24:28])
	r.MAC, r.XID = plan.MAC(p[28:34]), binary.BigEndian.Uint32(p[4:])

	if bare {
		r.BOOTP = true
		return nil
	}
	r.areas[0] = p[optionsStart:]
	if !r.index(optionsStart, len(p)) {
		return ErrOptions
	}
	if v := r.option(Overload); len(v) == 1 {
		if v[0]&overloadFile != 0 {
			r.areas[1] = p[fileStart:headerSize]
			if !r.index(fileStart, headerSize) {
				return ErrOptions
			}
		}
		if v[0]&overloadServer != 0 {
			r.areas[2] = p[serverStart:fileStart]
			if !r.index(serverStart, fileStart) {
				return ErrOptions
			}
		}
	}
	r.fill()
	return nil
}

// index notes where the options in raw[i:stop] are. It reports whether all of them are whole.
func (r *Request) index(i, stop int) bool {
	for i < stop {
		code := r.raw[i]
		if code == pad {
			i++
			continue
		}
		if code == end {
			return true
		}
		if i+2 > stop || i+2+int(r.raw[i+1]) > stop {
			return false
		}
		n := int(r.raw[i+1])
		if r.count[code] == 0 {
			r.first[code] = span{uint16(i + 2), uint16(n)}
		}
		r.count[code] = min(r.count[code]+1, 2)
		i += 2 + n
	}
	return true
}

// option gives the whole value of an option; empty when it is absent.
func (r *Request) option(code byte) []byte {
	if r.count[code] < 2 {
		s := r.first[code]
		return r.raw[s.off : s.off+s.len]
	}
	start := len(r.joined)
	for _, area := range r.areas {
		for i := 0; i < len(area) && area[i] != end; {
			if area[i] == pad {
				i++
				continue
			}
			n := int(area[i+1])
			if area[i] == code {
				r.joined = append(r.joined, area[i+2:i+2+n]...)
			}
			i += 2 + n
		}
	}
	return r.joined[start:]
}

// fill reads the options that the server looks at.
func (r *Request) fill() {
	r.BOOTP = r.count[MessageType] == 0
	if v := r.option(MessageType); len(v) == 1 {
		r.Type = Type(v[0])
	}
	if v := r.option(MaxMessageSize); len(v) == 2 {
		r.MaxSize = int(binary.BigEndian.Uint16(v))
	}
	r.Requested, r.Server = addr(r.option(RequestedAddr)), addr(r.option(ServerID))
	r.ID, r.Params, r.VendorClass = r.option(ClientID), r.option(ParameterList), r.option(VendorClass)
	r.Hostname, r.RelayInfo, r.Archs = r.option(Hostname), r.option(RelayInfo), r.option(ClientArch)
	if v := r.option(ClientUUID); len(v) == 17 && v[0] == 0 {
		r.UUID = v[1:]
	}
	r.Rapid = r.count[RapidCommit] > 0

	// iPXE writes its user class bare; RFC 3004 wants a length before each.
	class := r.option(UserClass)
	r.IPXE = string(class) == "iPXE" || string(class) == "\x04iPXE" || r.count[IPXEOptions] > 0

	if a := addr(r.option(SubnetSelection)); a.IsValid() {
		r.Link, r.Selected = a, true
	}
	if !r.Relay.IsValid() {
		return // only a relay may speak for another link or server: a client's own 82 says nothing
	}
	if a := addr(suboption(r.RelayInfo, linkSelection)); a.IsValid() {
		r.Link, r.Selected = a, false
	}
	r.Override = addr(suboption(r.RelayInfo, serverOverride))
}

// Circuit gives the circuit id in option 82 (RFC 3046): the port of a switch that a client is connected to.
func Circuit(relayInfo []byte) []byte { return suboption(relayInfo, circuitID) }

func suboption(b []byte, code byte) []byte {
	for len(b) >= 2 {
		n := int(b[1])
		if 2+n > len(b) {
			return nil
		}
		if b[0] == code {
			return b[2 : 2+n]
		}
		b = b[2+n:]
	}
	return nil
}

// addr reads an address; one that is 0.0.0.0 or not four bytes is not valid.
func addr(b []byte) netip.Addr {
	if len(b) != 4 || [4]byte(b) == [4]byte{} {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(b))
}

// NewInform gives the DHCPINFORM of a machine that has an address.
func NewInform(mac plan.MAC, client netip.Addr) []byte {
	b := newRequest(mac, Inform)
	a := client.As4()
	copy(b[12:], a[:])
	return b
}

// NewDiscover gives the DHCPDISCOVER of a machine that takes the answer by broadcast.
func NewDiscover(mac plan.MAC, xid uint32) []byte {
	b := newRequest(mac, Discover)
	binary.BigEndian.PutUint32(b[4:], xid)
	b[10] = 0x80
	return b
}

func newRequest(mac plan.MAC, t Type) []byte {
	b := make([]byte, leastMessage)
	b[0], b[1], b[2] = 1, 1, 6
	copy(b[28:], mac[:])
	copy(b[headerSize:], cookie[:])
	copy(b[optionsStart:], []byte{MessageType, 1, byte(t), end})
	return b
}
