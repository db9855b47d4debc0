package engine

import (
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/services/dhcp/packet"
)

// The names of many clusters are more than the 576 bytes that a client takes
// unasked, and with more of them one option is more than 255 bytes (RFC 3396).
func TestLongReplies(t *testing.T) {
	d := basic()
	d.Subnets[0].Domain = strings.Repeat("d", 60) + ".example.com"
	ask := opt(55, "\x01\x03\x06\x77\x0f\x1c\x2a\x79")
	for _, c := range []struct {
		name    string
		mods    []dhcpv4.Modifier
		names   int // in the search list, of 36 bytes each
		largest int
		field   bool // the fields of the header have options
	}{
		{"a client of 576 bytes", mod(ask), 6, 548, true},
		{"a client that says so", mod(ask, opt(57, "\x02\x40")), 6, 548, true},
		{"a client that says less", mod(ask, opt(57, "\x00\x40")), 6, 548, true},
		{"a client of 1500 bytes", mod(ask, opt(57, "\x05\xdc")), 9, 1444, false},
		{"a client of 64 KiB on Ethernet", mod(ask, opt(57, "\xff\xff")), 9, 1444, false},
	} {
		d.Subnets[0].Search = nil
		for i := range c.names {
			d.Subnets[0].Search = append(d.Subnets[0].Search, strings.Repeat(string(rune('a'+i)), 30)+".com")
		}
		l := newLab(t, d)
		got := l.send(stranger, dhcpv4.MessageTypeDiscover, c.mods...)
		raw := l.last.Frame[packet.Headers:]
		if len(raw) > c.largest {
			t.Errorf("%s: %d bytes", c.name, len(raw))
		}
		if list := options(got)[119]; len(list) < 32*c.names {
			t.Errorf("%s: search list of %d bytes", c.name, len(list))
		}
		if used := strings.Contains(string(raw[44:236]), strings.Repeat("d", 60)); used != c.field {
			t.Errorf("%s: domain in the fields of the header: %v", c.name, used)
		}
		if !strings.Contains(string(raw), strings.Repeat("d", 60)) {
			t.Errorf("%s: the domain was left out", c.name)
		}
	}
}

// Firmware looks for the boot file in the field, so it gets no options there.
func TestFirmwareGetsNoOverload(t *testing.T) {
	d := basic()
	long := strings.Repeat("d", 60) + ".example.com"
	for i := range 12 {
		d.Reservations[0].Search = append(d.Reservations[0].Search, strings.Repeat(string(rune('a'+i)), 30)+".com")
	}
	d.Reservations[0].Domain = long
	for _, arch := range []string{"\x00\x00", "\x00\x1f"} { // one with a boot file, one without
		l := newLab(t, d)
		got := l.send(node, dhcpv4.MessageTypeDiscover, opt(60, "PXEClient"), opt(93, arch), opt(55, "\x01\x03\x06\x77\x0f\x1c\x2a\x79"), opt(57, "\x02\x40"))
		if _, has := options(got)[52]; has {
			t.Errorf("architecture %q: option 52 in %s", arch, got.Summary())
		}
	}
}
