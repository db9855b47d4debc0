package dhcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// mac is the address of a network card.
type mac [6]byte

var everybody = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func (m mac) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// A way is how a message travels: the addresses of its frame, datagram and ports.
type way struct {
	fromMAC, toMAC mac
	from, to       netip.AddrPort
}

const (
	ethernet = 14
	ipHeader = 20
	headers  = ethernet + ipHeader + 8
)

// frame wraps a payload in UDP, IPv4 and Ethernet.
func (w way) frame(payload []byte) []byte {
	b := make([]byte, headers, headers+len(payload))
	copy(b, w.toMAC[:])
	copy(b[6:], w.fromMAC[:])
	b[12] = 8
	h := b[ethernet:]
	h[0], h[8], h[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(h[2:], uint16(ipHeader+8+len(payload)))
	copy(h[12:], w.from.Addr().AsSlice())
	copy(h[16:], w.to.Addr().AsSlice())
	binary.BigEndian.PutUint16(h[10:], ^sum(h[:ipHeader]))
	u := h[ipHeader:]
	binary.BigEndian.PutUint16(u, w.from.Port())
	binary.BigEndian.PutUint16(u[2:], w.to.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	b = append(b, payload...)
	c := ^pseudo(b[ethernet:])
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b[ethernet+ipHeader+6:], c)
	return b
}

// sum is the ones' complement sum of RFC 1071.
func sum(b []byte) uint16 {
	var s uint32
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// pseudo is the sum over a datagram's UDP part and its pseudo header (RFC 768).
func pseudo(datagram []byte) uint16 {
	u := datagram[ipHeader:]
	b := append([]byte(nil), datagram[12:20]...)
	b = append(b, 0, 17, byte(len(u)>>8), byte(len(u)))
	return sum(append(b, u...))
}

// unwrap gives the UDP payload of a frame and its way. A frame that is no UDP
// has no payload. partial: the kernel has not completed the UDP checksum yet.
func unwrap(b []byte, partial bool) (payload []byte, w way, err error) {
	if len(b) < headers || b[12] != 8 || b[13] != 0 || b[ethernet] != 0x45 || b[ethernet+9] != 17 {
		return nil, w, nil
	}
	d := b[ethernet:]
	length := int(binary.BigEndian.Uint16(d[2:]))
	if length > len(d) || length < ipHeader+8 {
		return nil, w, fmt.Errorf("datagram of %d bytes in a frame of %d", length, len(b))
	}
	d = d[:length]
	u := d[ipHeader:]
	w = way{
		fromMAC: mac(b[6:12]), toMAC: mac(b[0:6]),
		from: netip.AddrPortFrom(netip.AddrFrom4([4]byte(d[12:])), binary.BigEndian.Uint16(u)),
		to:   netip.AddrPortFrom(netip.AddrFrom4([4]byte(d[16:])), binary.BigEndian.Uint16(u[2:])),
	}
	switch checksum := binary.BigEndian.Uint16(u[6:]); {
	case sum(d[:ipHeader]) != 0xffff:
		err = fmt.Errorf("IP checksum is wrong")
	case int(binary.BigEndian.Uint16(u[4:])) != len(u):
		err = fmt.Errorf("UDP length is %d in a datagram of %d bytes", binary.BigEndian.Uint16(u[4:]), length)
	case !partial && checksum != 0 && pseudo(d) != 0xffff:
		err = fmt.Errorf("UDP checksum is wrong")
	}
	return u[8:], w, err
}

// echoReply answers a ping (RFC 792) of an address that have holds; nil: it is no such request.
func echoReply(b []byte, have func(netip.Addr) (mac, bool)) []byte {
	if len(b) < headers || b[12] != 8 || b[13] != 0 || b[ethernet] != 0x45 || b[ethernet+9] != 1 || b[ethernet+ipHeader] != 8 {
		return nil
	}
	own, ok := have(netip.AddrFrom4([4]byte(b[ethernet+16:])))
	if !ok {
		return nil
	}
	r := append([]byte(nil), b...)
	copy(r, b[6:12])
	copy(r[6:], own[:])
	copy(r[ethernet+12:], b[ethernet+16:ethernet+20]) // the sum of the header stays
	copy(r[ethernet+16:], b[ethernet+12:ethernet+16])
	echo := r[ethernet+ipHeader : ethernet+int(binary.BigEndian.Uint16(r[ethernet+2:]))]
	echo[0], echo[2], echo[3] = 0, 0, 0
	binary.BigEndian.PutUint16(echo[2:], ^sum(echo))
	return r
}

// arpReply answers an ARP request for an address that have holds; nil: it is no such request.
func arpReply(b []byte, have func(netip.Addr) (mac, bool)) []byte {
	if len(b) < 42 || b[12] != 8 || b[13] != 6 || b[21] != 1 {
		return nil
	}
	own, ok := have(netip.AddrFrom4([4]byte(b[38:])))
	if !ok {
		return nil
	}
	r := make([]byte, 42)
	copy(r, b[6:12])
	copy(r[6:], own[:])
	copy(r[12:], b[12:20])
	r[21] = 2
	copy(r[22:], own[:])
	copy(r[28:], b[38:42])
	copy(r[32:], b[22:32])
	return r
}
