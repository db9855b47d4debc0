// Package proxyproto writes the header of the PROXY protocol (haproxy.org,
// proxy-protocol.txt); package peek reads it.
package proxyproto

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Header is the header of version v1 or v2 that tells a server who its client
// is, and which address that connected to (sections 2.1 and 2.2). An invalid client
// stands for nobody: the connection is our own, as checks are.
func Header(version string, client, local netip.AddrPort) []byte {
	if !client.IsValid() || client.Addr().Is4() != local.Addr().Is4() {
		client, local = netip.AddrPort{}, netip.AddrPort{}
	}
	if version == "v1" {
		if !client.IsValid() {
			return []byte("PROXY UNKNOWN\r\n")
		}
		family := "TCP6"
		if client.Addr().Is4() {
			family = "TCP4"
		}
		return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, client.Addr(), local.Addr(), client.Port(), local.Port())
	}
	h := []byte("\r\n\r\n\x00\r\nQUIT\n")
	if !client.IsValid() {
		return append(h, 0x20, 0, 0, 0) // LOCAL, no addresses
	}
	family := byte(0x21) // TCP over IPv6
	if client.Addr().Is4() {
		family = 0x11
	}
	from, to := client.Addr().AsSlice(), local.Addr().AsSlice()
	h = append(h, 0x21, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(from)+len(to)+4))
	h = append(append(h, from...), to...)
	h = binary.BigEndian.AppendUint16(h, client.Port())
	return binary.BigEndian.AppendUint16(h, local.Port())
}
