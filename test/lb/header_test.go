package lb

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
)

// The PROXY protocol (haproxy.org, proxy-protocol.txt), written down a second
// time: what the balancer says is not judged by its own code.

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// v2 makes a header of version 2. Options are type, length and value.
func v2(from, to, options string) string {
	f, t := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	family := byte(0x11)
	if f.Addr().Is6() {
		family = 0x21
	}
	h := append([]byte(signature), 0x21, family)
	h = binary.BigEndian.AppendUint16(h, uint16(2*len(f.Addr().AsSlice())+4+len(options)))
	h = append(append(h, f.Addr().AsSlice()...), t.Addr().AsSlice()...)
	h = binary.BigEndian.AppendUint16(h, f.Port())
	return string(binary.BigEndian.AppendUint16(h, t.Port())) + options
}

// local is a header of version 2 for connections that nobody is behind.
const local = signature + "\x20\x00\x00\x00"

// readHeader reads a header of either version and gives it as "v1 FROM TO", "v2 FROM TO", or what is wrong.
func readHeader(c net.Conn) string {
	head := make([]byte, 12)
	if _, err := io.ReadFull(c, head); err != nil {
		return "no header: " + err.Error()
	}
	if string(head) != signature {
		line := string(head)
		if !strings.HasSuffix(line, "\r\n") {
			line += lineOf(c)
		}
		f := strings.Fields(line)
		if len(f) != 6 || f[0] != "PROXY" || !strings.HasSuffix(line, "\r\n") {
			return fmt.Sprintf("%q", line)
		}
		return fmt.Sprintf("v1 %s %s %s", f[1], net.JoinHostPort(f[2], f[4]), net.JoinHostPort(f[3], f[5]))
	}
	rest := make([]byte, 4)
	if _, err := io.ReadFull(c, rest); err != nil {
		return "no length: " + err.Error()
	}
	body := make([]byte, binary.BigEndian.Uint16(rest[2:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return "no addresses: " + err.Error()
	}
	size := map[byte]int{0x11: 4, 0x21: 16}[rest[1]]
	if rest[0] != 0x21 || size == 0 || len(body) != 2*size+4 {
		return fmt.Sprintf("%x %x", rest, body)
	}
	from, _ := netip.AddrFromSlice(body[:size])
	to, _ := netip.AddrFromSlice(body[size : 2*size])
	return fmt.Sprintf("v2 TCP%d %s %s", 4+size/16*2, netip.AddrPortFrom(from, binary.BigEndian.Uint16(body[2*size:])),
		netip.AddrPortFrom(to, binary.BigEndian.Uint16(body[2*size+2:])))
}

// reveal tells the client which header the server got, and is then an echo.
func reveal(c *net.TCPConn) {
	_, _ = io.WriteString(c, readHeader(c)+"\n")
	echo(c)
}
