package engine

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services/dhcp/packet"
)

// One DISCOVER of a booting node, from bytes to bytes.
func BenchmarkOffer(b *testing.B) {
	l := newLab(b, basic())
	d, err := dhcpv4.New(dhcpv4.WithHwAddr(node[:]), dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), opt(60, "PXEClient:Arch:00007"), opt(93, "\x00\x07"))
	if err != nil {
		b.Fatal(err)
	}
	raw, link := d.ToBytes(), l.link()
	var req packet.Request
	b.ReportAllocs()
	for b.Loop() {
		if req.Parse(raw) != nil {
			b.Fatal("refused")
		}
		l.e.Handle(&req, link, l.now, &l.last)
	}
}

// A DISCOVER and a REQUEST of ever new machines, with a pool of 64000.
func BenchmarkPoolLease(b *testing.B) {
	d := basic()
	d.Subnets = d.Subnets[:1]
	d.Subnets[0].Prefix = netip.MustParsePrefix("10.67.0.0/16")
	d.Subnets[0].Pool = plan.Range{First: ip("10.67.1.0"), Last: ip("10.67.250.255")}
	l := newLab(b, d)
	discover := lastRequest(b, stranger, dhcpv4.MessageTypeDiscover, giaddr("10.67.0.1"))
	ask := lastRequest(b, stranger, dhcpv4.MessageTypeRequest, giaddr("10.67.0.1"), server("192.168.67.2"))
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		mac := plan.MAC{2, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
		discover.MAC, ask.MAC = mac, mac
		l.e.Handle(discover, nil, l.now, &l.last)
		if len(l.last.Frame) == 0 { // all leased: let the leases end
			l.now += 5 * 3600
			continue
		}
		offer := l.last.Frame[packet.Headers:]
		ask.Requested = netip.AddrFrom4([4]byte(offer[16:20]))
		l.e.Handle(ask, nil, l.now, &l.last)
		if !l.last.Durable {
			b.Fatal("no lease")
		}
		l.e.Stored(&l.last.Record)
	}
}
