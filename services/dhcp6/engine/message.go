package engine

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"helperd/plan"
)

const (
	relayHeader = 34 // type, hops, link address, peer address
	mostHops    = 8  // HOP_COUNT_LIMIT, RFC 8415 section 7.6
	longestDUID = 130
	// mostAsked is how many IAs a message may have: what says that there is nothing for
	// one is longer than the IA, and whom the answer goes to may be forged.
	mostAsked = 32
)

// layer is one Relay-forward around the client's message (RFC 8415 section 9.1).
type layer struct {
	hops       uint8
	link, peer netip.Addr
	options    dhcpv6.Options // as bytes
}

// message is a client's message with the relays that it came through.
type message struct {
	layers  []layer // the one next to us first
	kind    dhcpv6.MessageType
	xid     dhcpv6.TransactionID
	options dhcpv6.MessageOptions
}

var errMalformed = errors.New("malformed message")

// parse reads a datagram of a client or relay.
func parse(b []byte) (*message, error) {
	m := &message{}
	for len(b) > 0 && dhcpv6.MessageType(b[0]) == dhcpv6.MessageTypeRelayForward {
		if len(b) < relayHeader || len(m.layers) > mostHops {
			return nil, errMalformed
		}
		l := layer{hops: b[1], link: netip.AddrFrom16([16]byte(b[2:18])), peer: netip.AddrFrom16([16]byte(b[18:34]))}
		if err := l.options.FromBytesWithParser(b[relayHeader:], asBytes); err != nil {
			return nil, err
		}
		m.layers = append(m.layers, l)
		inner := l.options.GetOne(dhcpv6.OptionRelayMsg)
		if inner == nil {
			return nil, errMalformed
		}
		b = inner.ToBytes()
	}
	if len(b) < dhcpv6.MessageHeaderSize {
		return nil, errMalformed
	}
	m.kind, m.xid = dhcpv6.MessageType(b[0]), dhcpv6.TransactionID(b[1:4])
	if err := m.options.FromBytesWithParser(b[4:], lenient); err != nil {
		return nil, err
	}
	return m, m.bounded()
}

// bounded gives an error for a message that is larger than any client's would be.
func (m *message) bounded() error {
	asked := 0
	for _, o := range m.options.Options {
		switch o.Code() {
		case dhcpv6.OptionIANA, dhcpv6.OptionIATA, dhcpv6.OptionIAPD:
			asked++
		case dhcpv6.OptionClientID, dhcpv6.OptionServerID:
			if n := len(o.ToBytes()); n < 3 || n > longestDUID { // RFC 8415 section 11.1
				return errMalformed
			}
		}
	}
	if asked > mostAsked {
		return errMalformed
	}
	return nil
}

func asBytes(code dhcpv6.OptionCode, b []byte) (dhcpv6.Option, error) {
	return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: b}, nil
}

// needed are the options without which a message says nothing.
var needed = []dhcpv6.OptionCode{dhcpv6.OptionClientID, dhcpv6.OptionServerID, dhcpv6.OptionIANA, dhcpv6.OptionIATA, dhcpv6.OptionIAPD}

// lenient keeps an option that firmware has built wrong as bytes, and does not
// drop the message for it. A DUID is opaque (RFC 8415 section 11): one that is not
// as its type wants it is one all the same.
func lenient(code dhcpv6.OptionCode, b []byte) (dhcpv6.Option, error) {
	o, err := dhcpv6.ParseOption(code, b)
	switch {
	case err == nil:
		return o, nil
	case !slices.Contains(needed, code):
		return asBytes(code, b)
	case len(b) < 2:
		return nil, err
	}
	duid := &dhcpv6.DUIDOpaque{Type: dhcpv6.DUIDType(binary.BigEndian.Uint16(b)), Data: b[2:]}
	switch code {
	case dhcpv6.OptionClientID:
		return dhcpv6.OptClientID(duid), nil
	case dhcpv6.OptionServerID:
		return dhcpv6.OptServerID(duid), nil
	}
	return nil, err
}

// wrap puts reply into one Relay-reply for each relay (RFC 8415 section 19.3).
func (m *message) wrap(reply []byte) []byte {
	for i := len(m.layers) - 1; i >= 0; i-- {
		l := &m.layers[i]
		b := make([]byte, 0, relayHeader+len(reply)+64)
		b = append(b, byte(dhcpv6.MessageTypeRelayReply), l.hops)
		b = append(b, l.link.AsSlice()...)
		b = append(b, l.peer.AsSlice()...)
		echoed := dhcpv6.Options{}
		for _, o := range l.options {
			if l.echoes(o.Code()) {
				echoed.Add(o)
			}
		}
		echoed.Add(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRelayMsg, OptionData: reply})
		reply = append(b, echoed.ToBytes()...)
	}
	return reply
}

// echoes reports whether the relay wants an option back: its interface id, its
// port (RFC 8357), and what it lists in option 43 (RFC 4994).
func (l *layer) echoes(code dhcpv6.OptionCode) bool {
	switch code {
	case dhcpv6.OptionInterfaceID, dhcpv6.OptionRelayPort:
		return true
	case dhcpv6.OptionRelayMsg, dhcpv6.OptionEchoRequest:
		return false
	}
	list := l.options.GetOne(dhcpv6.OptionEchoRequest)
	if list == nil {
		return false
	}
	b := list.ToBytes()
	for i := 0; i+1 < len(b); i += 2 {
		if dhcpv6.OptionCode(binary.BigEndian.Uint16(b[i:])) == code {
			return true
		}
	}
	return false
}

// port is where an answer to from goes: a relay's own one, if it says that it has one.
func (m *message) port(from uint16) uint16 {
	switch {
	case len(m.layers) == 0:
		return dhcpv6.DefaultClientPort
	case m.layers[0].options.GetOne(dhcpv6.OptionRelayPort) != nil:
		return from
	}
	return dhcpv6.DefaultServerPort
}

// relayLink is the link that the relay next to the client heard it on, if one says.
func (m *message) relayLink() netip.Addr {
	for i := len(m.layers) - 1; i >= 0; i-- {
		if a := m.layers[i].link; !a.IsUnspecified() && !a.IsLinkLocalUnicast() {
			return a
		}
	}
	return netip.Addr{}
}

// macs are those that the client may have, the best evidence first. from is who sent the datagram.
func (m *message) macs(from netip.Addr) []plan.MAC {
	var out []plan.MAC
	add := func(hardware uint16, b []byte) {
		if hardware == uint16(iana.HWTypeEthernet) && len(b) == len(plan.MAC{}) {
			if mac := plan.MAC(b); !mac.IsZero() && mac[0]&1 == 0 && !slices.Contains(out, mac) {
				out = append(out, mac)
			}
		}
	}
	if n := len(m.layers); n > 0 {
		from = m.layers[n-1].peer
		if o := m.layers[n-1].options.GetOne(dhcpv6.OptionClientLinkLayerAddr); o != nil {
			if b := o.ToBytes(); len(b) > 2 {
				add(binary.BigEndian.Uint16(b), b[2:])
			}
		}
	}
	if a := from.As16(); from.Is6() && from.IsLinkLocalUnicast() && a[11] == 0xff && a[12] == 0xfe {
		add(uint16(iana.HWTypeEthernet), []byte{a[8] ^ 2, a[9], a[10], a[13], a[14], a[15]}) // RFC 4291 appendix A
	}
	switch d := m.options.ClientID().(type) {
	case *dhcpv6.DUIDLLT:
		add(uint16(d.HWType), d.LinkLayerAddr)
	case *dhcpv6.DUIDLL:
		add(uint16(d.HWType), d.LinkLayerAddr)
	}
	return out
}
