package engine

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
)

// A machine is found by its MAC, then its UUID in either order of bytes, then its client id.
func TestFoundBy(t *testing.T) {
	const discover = dhcpv4.MessageTypeDiscover
	const printed, swapped = "\x4c\x4c\x45\x44\x00\x51\x35\x10\x80\x52\xb4\xc0\x4f\x4a\x31\x32", "\x44\x45\x4c\x4c\x51\x00\x10\x35\x80\x52\xb4\xc0\x4f\x4a\x31\x32"
	d := basic()
	d.Reservations[0].UUID, d.Reservations[0].ClientID = plan.UUID([]byte(printed)), "node-id"
	d.Reservations[1].UUID, d.Reservations[1].ClientID = plan.UUID([]byte(printed)), "node-id"
	d.Reservations = append(d.Reservations,
		plan.Reservation{ClientID: "\x20\x00\x0a", Address: ip("192.168.67.21"), Hostname: "switch.example.com"},
		plan.Reservation{UUID: plan.UUID{1}, Address: ip("192.168.67.22"), Hostname: "uuid.example.com"},
		plan.Reservation{ClientID: "edge", Address: ip("10.30.8.11"), Hostname: "edge.example.com"})
	printer := plan.MAC{0x52, 0x54, 0, 0x44, 0, 1}
	pxe := opt(60, "PXEClient")
	for _, c := range []struct {
		name string
		mac  plan.MAC
		mods []dhcpv4.Modifier
		want string // empty: silence
	}{
		{"UUID", stranger, mod(pxe, opt(97, "\x00"+printed)), "192.168.67.10"},
		{"UUID as SMBIOS has it", stranger, mod(pxe, opt(97, "\x00"+swapped)), "192.168.67.10"},
		{"UUID of another type", stranger, mod(pxe, opt(97, "\x01"+printed)), ""},
		{"another UUID", stranger, mod(pxe, opt(97, "\x00"+printed[:15]+"x")), ""},
		{"client id", stranger, mod(opt(61, "node-id")), "192.168.67.10"},
		{"client id behind a type", stranger, mod(opt(61, "\x00node-id")), "192.168.67.10"},
		{"another client id", stranger, mod(opt(61, "\x01node-id")), "192.168.67.100"},
		{"client id and no MAC", stranger, mod(opt(61, "\x20\x00\x0a")), "192.168.67.21"},
		{"MAC before UUID and client id", printer, mod(opt(97, "\x00"+printed), opt(61, "node-id")), "192.168.67.20"},
		{"UUID before client id", stranger, mod(opt(97, "\x00"+printed), opt(61, "\x20\x00\x0a")), "192.168.67.10"},
		{"client id of another network", stranger, mod(opt(61, "edge")), "192.168.67.100"},
		{"client id on its network", stranger, mod(opt(61, "edge"), giaddr("10.30.8.1")), "10.30.8.11"},
		{"neither", stranger, nil, "192.168.67.100"},
	} {
		l := newLab(t, d)
		got := l.send(c.mac, discover, c.mods...)
		want := netip.Addr{}
		if c.want != "" {
			want = ip(c.want)
		}
		switch {
		case got == nil && c.want != "" || got != nil && yiaddr(got) != want:
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
			continue
		case got == nil:
			continue
		}
		if told := len(l.last.Events) > 0 && strings.Contains(l.last.Events[0].Detail, "is not in its mac"); told != (want == ip("192.168.67.10")) {
			t.Errorf("%s: events %v", c.name, l.last.Events)
		}
		if ack := l.lease(c.mac, c.mods...); ack != want {
			t.Errorf("%s: leased %s", c.name, ack)
		}
		if want == ip("192.168.67.10") && l.last.Durable {
			t.Errorf("%s: a reservation was stored", c.name)
		}
	}
}

// Who had an address of the pool keeps it when it becomes its own, whatever tells that.
func TestLeaseBecomesReservation(t *testing.T) {
	l := newLab(t, basic())
	id := opt(61, "\xffthe-host")
	a := l.lease(stranger, id)
	d := basic()
	d.Reservations = append(d.Reservations, plan.Reservation{ClientID: "\xffthe-host", Address: a, Hostname: "h.example.com"})
	l.adopt(d)
	if got := l.lease(stranger, id); got != a {
		t.Errorf("got %s, had %s", got, a)
	}
	if got := l.lease(other, id); got != a {
		t.Errorf("the other card of the same machine got %s, want %s", got, a)
	}
}

// PXE wants its UUID back; a system that sends one is not told.
func TestUUIDIsEchoed(t *testing.T) {
	const uuid = "\x000123456789abcdef"
	l := newLab(t, basic())
	for _, typ := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest} {
		got := options(l.send(node, typ, requested("192.168.67.10"), opt(60, "PXEClient"), opt(93, "\x00\x07"), opt(97, uuid)))
		if got[97] != uuid {
			t.Errorf("%s: option 97 is %q", typ, got[97])
		}
	}
	if got := options(l.send(node, dhcpv4.MessageTypeDiscover, opt(97, uuid))); got[97] != "" {
		t.Errorf("a system is told %q", got[97])
	}
}
