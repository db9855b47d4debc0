package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// proxyHeader is the PROXY protocol header, version v1 or v2, that tells a
// server who its client is (haproxy.org, proxy-protocol.txt, sections 2.1 and 2.2).
func proxyHeader(version string, client, local netip.AddrPort) []byte {
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
