package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Message types (option 53 of RFC 2132).
const (
	discover = 1
	offer    = 2
	request  = 3
	decline  = 4
	ack      = 5
	nak      = 6
	release  = 7
	inform   = 8
)

// Option codes that cases speak of.
const (
	optMask       = 1
	optRouter     = 3
	optDNS        = 6
	optHostname   = 12
	optDomain     = 15
	optMTU        = 26
	optBroadcast  = 28
	optNTP        = 42
	optRequested  = 50
	optLeaseTime  = 51
	optOverload   = 52
	optType       = 53
	optServerID   = 54
	optParams     = 55
	optText       = 56
	optMaxSize    = 57
	optT1         = 58
	optT2         = 59
	optClass      = 60
	optClientID   = 61
	optTFTPServer = 66
	optBootFile   = 67
	optUserClass  = 77
	optRapid      = 80
	optRelay      = 82
	optArch       = 93
	optUUID       = 97
	optSelect     = 118
	optSearch     = 119
	optRoutes     = 121
)

// The fixed part of a message (RFC 2131 section 2) and where its fields lie.
const (
	snameAt   = 44
	fileAt    = 108
	cookieAt  = 236
	optionsAt = 240
	magic     = "\x63\x82\x53\x63"
)

// A message is a DHCP message with its options in the order of the wire.
type message struct {
	op, htype, hlen, hops          byte
	xid                            uint32
	secs, flags                    uint16
	ciaddr, yiaddr, siaddr, giaddr netip.Addr
	chaddr                         [16]byte
	sname                          [64]byte
	file                           [128]byte
	options                        []option

	size int // of the UDP payload that it was read from, in bytes
}

type option struct {
	code  byte
	value string
}

// bytes writes the message, at least 300 bytes long as old relays want.
func (m *message) bytes() []byte {
	b := make([]byte, optionsAt, 576)
	b[0], b[1], b[2], b[3] = m.op, m.htype, m.hlen, m.hops
	binary.BigEndian.PutUint32(b[4:], m.xid)
	binary.BigEndian.PutUint16(b[8:], m.secs)
	binary.BigEndian.PutUint16(b[10:], m.flags)
	for i, a := range []netip.Addr{m.ciaddr, m.yiaddr, m.siaddr, m.giaddr} {
		if a.IsValid() {
			copy(b[12+4*i:], a.AsSlice())
		}
	}
	copy(b[28:], m.chaddr[:])
	copy(b[snameAt:], m.sname[:])
	copy(b[fileAt:], m.file[:])
	copy(b[cookieAt:], magic)
	for _, o := range m.options {
		b = append(append(b, o.code, byte(len(o.value))), o.value...)
	}
	b = append(b, 255)
	return append(b, make([]byte, max(0, 300-len(b)))...)
}

// parse reads a message. Options in file and sname follow those of the options field.
func parse(b []byte) (*message, error) {
	if len(b) < cookieAt {
		return nil, fmt.Errorf("message of %d bytes", len(b))
	}
	m := &message{
		op: b[0], htype: b[1], hlen: b[2], hops: b[3],
		xid: binary.BigEndian.Uint32(b[4:]), secs: binary.BigEndian.Uint16(b[8:]), flags: binary.BigEndian.Uint16(b[10:]),
		ciaddr: netip.AddrFrom4([4]byte(b[12:])), yiaddr: netip.AddrFrom4([4]byte(b[16:])),
		siaddr: netip.AddrFrom4([4]byte(b[20:])), giaddr: netip.AddrFrom4([4]byte(b[24:])),
		chaddr: [16]byte(b[28:]), sname: [64]byte(b[snameAt:]), file: [128]byte(b[fileAt:]), size: len(b),
	}
	if len(b) < optionsAt || string(b[cookieAt:optionsAt]) != magic {
		return m, nil // BOOTP
	}
	if err := m.read(b[optionsAt:]); err != nil {
		return m, err
	}
	over := m.get(optOverload)
	if over == "\x01" || over == "\x03" {
		if err := m.read(m.file[:]); err != nil {
			return m, fmt.Errorf("options in file: %w", err)
		}
	}
	if over == "\x02" || over == "\x03" {
		if err := m.read(m.sname[:]); err != nil {
			return m, fmt.Errorf("options in sname: %w", err)
		}
	}
	return m, nil
}

// read appends the options in a field.
func (m *message) read(b []byte) error {
	for len(b) > 0 && b[0] != 255 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return fmt.Errorf("option %d runs over the end", b[0])
		}
		m.options = append(m.options, option{b[0], string(b[2 : 2+b[1]])})
		b = b[2+b[1]:]
	}
	if len(b) == 0 {
		return errors.New("options without an end")
	}
	return nil
}

// get gives an option's whole value (RFC 3396); empty: it is not there.
func (m *message) get(code byte) string {
	var v string
	for _, o := range m.options {
		if o.code == code {
			v += o.value
		}
	}
	return v
}

func (m *message) has(code byte) bool {
	for _, o := range m.options {
		if o.code == code {
			return true
		}
	}
	return false
}

// codes are the options in the order of the wire.
func (m *message) codes() []byte {
	var list []byte
	for _, o := range m.options {
		list = append(list, o.code)
	}
	return list
}

// kind is the message type; 0: BOOTP.
func (m *message) kind() byte {
	if v := m.get(optType); len(v) == 1 {
		return v[0]
	}
	return 0
}

// seconds gives an option of four bytes; -1: it is not there or not so long.
func (m *message) seconds(code byte) int64 {
	v := m.get(code)
	if len(v) != 4 {
		return -1
	}
	return int64(binary.BigEndian.Uint32([]byte(v)))
}

// bootFile is the file field as text.
func (m *message) bootFile() string {
	for i, c := range m.file {
		if c == 0 {
			return string(m.file[:i])
		}
	}
	return string(m.file[:])
}

// ip is the value of an option that holds these addresses.
func ip(list ...string) string {
	var b []byte
	for _, a := range list {
		b = append(b, netip.MustParseAddr(a).AsSlice()...)
	}
	return string(b)
}
