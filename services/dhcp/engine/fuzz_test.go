package engine

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/services/dhcp/packet"
)

// Whatever comes, the engine stands, and what it answers can be read by others and fits the link.
func FuzzHandle(f *testing.F) {
	for _, mods := range [][]dhcpv4.Modifier{
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover)},
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), requested("192.168.67.100"), server("192.168.67.2")},
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), ciaddr("192.168.67.10"), opt(60, "PXEClient:Arch:00007"), opt(93, "\x00\x07")},
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeInform), ciaddr("192.168.67.10"), giaddr("192.168.67.1"), opt(82, "\x05\x04\x0a\x1e\x08\x00"), opt(118, "\x0a\x1e\x08\x00")},
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), opt(80, ""), giaddr("192.168.67.1"), opt(82, "\x0b\x04\xc0\xa8\x43\x01")},
		{opt(12, "bootp")},
	} {
		d, err := dhcpv4.New(append(mods, dhcpv4.WithHwAddr(node[:]))...)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(d.ToBytes())
	}
	l := newLab(f, basic())
	var req packet.Request
	f.Fuzz(func(t *testing.T, in []byte) {
		if req.Parse(in) != nil {
			return
		}
		l.now += 10
		l.e.Handle(&req, l.link(), l.now, &l.last)
		if l.last.Durable {
			l.e.Stored(&l.last.Record)
		}
		if len(l.last.Frame) == 0 {
			return
		}
		if !l.last.To.IsValid() || !l.last.Source.Is4() {
			t.Fatalf("nowhere to send: %+v", l.last)
		}
		packet.Frame(l.last.Frame, netip.AddrPortFrom(l.last.Source, packet.ServerPort), l.last.To)
		if n := len(l.last.Frame); n > packet.Buffer {
			t.Errorf("%d bytes", n)
		}
		if bytes.Equal(in[236:240], []byte{0, 0, 0, 0}) {
			return // BOOTP without a magic cookie, which the other implementation does not read
		}
		got, err := dhcpv4.FromBytes(l.last.Frame[packet.Headers:])
		if err != nil {
			t.Fatal(err)
		}
		if lacks := got.MessageType() == dhcpv4.MessageTypeNone || got.ServerIdentifier() == nil; lacks != req.BOOTP {
			t.Errorf("answer %s", got.Summary())
		}
		if len(l.e.table.byAddr) > 5 {
			t.Errorf("%d bindings in a pool of 5", len(l.e.table.byAddr))
		}
	})
}
