package peek

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// Numbers of the PROXY protocol (proxy-protocol.txt, sections 2.1 and 2.2).
const (
	v1Most      = 107 // bytes of a header of version 1, CR LF included
	v2Size      = 16  // bytes of a header of version 2 before its addresses
	v2TCP4      = 0x11
	v2TCP6      = 0x21
	v2CRC32C    = 0x03
	v2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	v1Signature = "PROXY "
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Proxied connection is one whose client another balancer tells.
type Proxied struct {
	Client, Local netip.AddrPort // the client's address and the one that it connected to
	Size          int            // of the header in bytes; what follows is the client's
}

// ProxyHeader reads the PROXY protocol's header at the start of b. Absent is a header
// that says that the addresses of the connection itself count (LOCAL, UNKNOWN, or
// a family that is not TCP); its Size is given all the same.
func ProxyHeader(b []byte) (Proxied, Outcome) {
	switch {
	case startsWith(b, v2Signature):
		return proxyV2(b)
	case startsWith(b, v1Signature):
		return proxyV1(b)
	}
	return Proxied{}, Garbage
}

// startsWith reports whether b starts with signature, as far as it goes.
func startsWith(b []byte, signature string) bool {
	n := min(len(b), len(signature))
	return string(b[:n]) == signature[:n]
}

func proxyV1(b []byte) (Proxied, Outcome) {
	end := bytes.Index(b[:min(len(b), v1Most)], []byte("\r\n"))
	switch {
	case end < 0 && len(b) >= v1Most:
		return Proxied{}, Garbage
	case end < 0:
		return Proxied{}, More
	}
	p := Proxied{Size: end + 2}
	words := b[len(v1Signature):end]
	if bytes.Equal(words, []byte("UNKNOWN")) || bytes.HasPrefix(words, []byte("UNKNOWN ")) {
		return p, Absent
	}
	var word [5][]byte // family, source, destination, their ports
	for i := range word {
		var more bool
		if word[i], words, more = bytes.Cut(words, []byte{' '}); more != (i < len(word)-1) {
			return Proxied{}, Garbage
		}
	}
	six := string(word[0]) == "TCP6"
	if !six && string(word[0]) != "TCP4" {
		return Proxied{}, Garbage
	}
	var ok1, ok2 bool
	p.Client, ok1 = v1Address(word[1], word[3], six)
	p.Local, ok2 = v1Address(word[2], word[4], six)
	if !ok1 || !ok2 {
		return Proxied{}, Garbage
	}
	return p, Found
}

func v1Address(host, port []byte, six bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(string(host))
	if err != nil || a.Is4() == six || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	n := 0
	for _, c := range port {
		if c < '0' || c > '9' {
			return netip.AddrPort{}, false
		}
		if n = n*10 + int(c-'0'); n > 65535 {
			return netip.AddrPort{}, false
		}
	}
	if len(port) == 0 || len(port) > 1 && port[0] == '0' { // no leading zeros
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}

func proxyV2(b []byte) (Proxied, Outcome) {
	if len(b) > len(v2Signature) && b[12]>>4 != 2 {
		return Proxied{}, Garbage
	}
	if len(b) < v2Size {
		return Proxied{}, More
	}
	p := Proxied{Size: v2Size + int(binary.BigEndian.Uint16(b[14:]))}
	proxied := b[12]&0xf == 1
	switch {
	case b[12]&0xf > 1, p.Size > Max:
		return Proxied{}, Garbage
	case len(b) < p.Size:
		return Proxied{}, More
	}
	family, addresses := b[13], b[v2Size:p.Size]
	size := v2Addresses(family)
	if len(addresses) < size {
		if proxied {
			return Proxied{}, Garbage
		}
		return p, Absent // what LOCAL says beside that is ignored
	}
	if intact, wellFormed := checkTLVs(b[:p.Size], v2Size+size); !intact || proxied && !wellFormed {
		return Proxied{}, Garbage
	}
	if !proxied || family != v2TCP4 && family != v2TCP6 {
		return p, Absent
	}
	n := (size - 4) / 2 // bytes of an address
	p.Client = v2Address(addresses[:n], addresses[2*n:])
	p.Local = v2Address(addresses[n:2*n], addresses[2*n+2:])
	return p, Found
}

// v2Addresses is the size in bytes of the addresses of a family.
func v2Addresses(family byte) int {
	switch family >> 4 {
	case 1:
		return 12
	case 2:
		return 36
	case 3: // Unix sockets
		return 216
	}
	return 0
}

func v2Address(host, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(host)
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}

// checkTLVs walks over the further fields of a header, which begin at an offset.
// intact is false when there is a checksum and the header has another one.
func checkTLVs(header []byte, at int) (intact, wellFormed bool) {
	for at < len(header) {
		if at+3 > len(header) {
			return true, false
		}
		kind, size := header[at], int(binary.BigEndian.Uint16(header[at+1:]))
		at += 3
		if at+size > len(header) {
			return true, false
		}
		if kind == v2CRC32C {
			if size != crc32.Size {
				return false, true
			}
			// The checksum is that of the header with zeros in its place (section 2.2.3).
			sum := crc32.Update(0, castagnoli, header[:at])
			sum = crc32.Update(sum, castagnoli, make([]byte, crc32.Size))
			sum = crc32.Update(sum, castagnoli, header[at+size:])
			if sum != binary.BigEndian.Uint32(header[at:]) {
				return false, true
			}
		}
		at += size
	}
	return true, true
}
