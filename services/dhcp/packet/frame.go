package packet

import (
	"encoding/binary"
	"net/netip"
)

// Headers is the room for IP and UDP headers before a message, in bytes.
const Headers = ipUDP

const (
	// ServerPort and ClientPort are the UDP ports of RFC 2131.
	ServerPort = 67
	ClientPort = 68
	// ProxyPort is where a proxy DHCP server is asked for the boot file (PXE specification 2.1 section 2.2).
	ProxyPort = 4011
)

// Frame fills in the IP and UDP headers before a message: frame[:Headers] is
// overwritten, frame[Headers:] is the message. Both checksums are complete,
// because a raw reader at the other end checks them itself.
func Frame(frame []byte, src, dst netip.AddrPort) {
	s, d := src.Addr().As4(), dst.Addr().As4()
	udp := len(frame) - 20
	clear(frame[:Headers])
	frame[0] = 0x45
	frame[1] = 0x10 // low delay, as DHCP servers mark their packets
	binary.BigEndian.PutUint16(frame[2:], uint16(len(frame)))
	frame[8], frame[9] = 64, 17
	copy(frame[12:], s[:])
	copy(frame[16:], d[:])
	binary.BigEndian.PutUint16(frame[10:], ^fold(sum(frame[:20], 0)))
	binary.BigEndian.PutUint16(frame[20:], src.Port())
	binary.BigEndian.PutUint16(frame[22:], dst.Port())
	binary.BigEndian.PutUint16(frame[24:], uint16(udp))
	c := ^fold(sum(frame[20:], sum(frame[12:20], uint64(17+udp))))
	if c == 0 {
		c = 0xffff // 0 would say that there is no checksum (RFC 768)
	}
	binary.BigEndian.PutUint16(frame[26:], c)
}

// sum adds b as 16 bit words to s (RFC 1071), two words at a time: fold brings
// them together. No message is long enough to overflow it.
func sum(b []byte, s uint64) uint64 {
	for ; len(b) >= 4; b = b[4:] {
		s += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
