package rig

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// OnlyIPv6 adds to examples/ocp4.yaml an IPv6 network on the helper's LAN, with a
// pool, and one behind a relay, and leaves the node no address of IPv4.
func OnlyIPv6(text, node string) string {
	text = strings.NewReplacer(
		"  address: 192.168.67.2 ", "  address6: fd00:67::2\n  address: 192.168.67.2 ",
		"\nartifacts:", "  - cidr: fd00:67::/64\n    gateway: fd00:67::1\n    dhcp: {pool: \"fd00:67::100-fd00:67::1ff\"}\n"+
			"  - cidr: fd00:30::/64\n\nhosts:\n  - {name: far.example.com, ip6: \"fd00:30::10\", mac: \"52:54:00:33:00:01\"}\n\nartifacts:",
	).Replace(text)
	line := regexp.MustCompile(`(- {name: ` + node + `,.*) ip: [0-9.]*\.([0-9]+)}`)
	return line.ReplaceAllString(text, `$1 ip6: "fd00:67::$2"}`)
}

// Advertise makes the router of the helper's LAN send router advertisements for
// the IPv6 network until the test ends: the prefix is on the link, addresses and
// all else come by DHCPv6 (flags M and O).
func (r *Rig) Advertise(t testing.TB) {
	t.Helper()
	prefix := netip.MustParsePrefix(r.LAN6.CIDR)
	body := []byte{
		64, 0xc0, 0x07, 0x08, // hop limit, M and O, 1800 s as a router
		0, 0, 0, 0, 0, 0, 0, 0,
		3, 4, byte(prefix.Bits()), 0x80, // prefix information: on link, no addresses from it
		0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0,
	}
	body = append(body, prefix.Addr().AsSlice()...)
	message, err := (&icmp.Message{Type: ipv6.ICMPTypeRouterAdvertisement, Body: &icmp.RawBody{Data: body}}).Marshal(nil)
	must(t, err)
	var conn *icmp.PacketConn
	var ifi *net.Interface
	r.Router.Do(t, func() {
		ifi, err = net.InterfaceByName(Bridge)
		must(t, err)
		conn, err = icmp.ListenPacket("ip6:ipv6-icmp", "::")
		must(t, err)
	})
	p := conn.IPv6PacketConn()
	must(t, p.SetMulticastHopLimit(255))
	must(t, p.SetMulticastInterface(ifi))
	done := make(chan struct{})
	t.Cleanup(func() { close(done); _ = conn.Close() })
	r.guard.Go("router advertisements", func() {
		for {
			// Before the router's link-local address is tried out there is nothing to send from.
			_, _ = p.WriteTo(message, nil, &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: Bridge})
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}
		}
	})
}
