package rig

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

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
