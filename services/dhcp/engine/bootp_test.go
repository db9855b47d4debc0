package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services/dhcp/packet"
	"helperd/timeline"
)

// BOOTP gives machines of the plan their address and boot file and says nothing
// of leases (RFC 1534 section 2); others have no address that they could keep for ever.
func TestBOOTP(t *testing.T) {
	const bootp = dhcpv4.MessageTypeNone
	l := newLab(t, basic())
	got := l.send(node, bootp)
	if got == nil {
		t.Fatal("no answer")
	}
	if yiaddr(got) != ip("192.168.67.10") || got.ServerIPAddr.String() != "192.168.67.2" || got.BootFileName != "undionly.kpxe" {
		t.Errorf("%s", got.Summary())
	}
	want := map[uint8]string{
		1: "\xff\xff\xff\x00", 3: "\xc0\xa8\x43\x01", 6: "\xc0\xa8\x43\x02\xc0\xa8\x43\x03", 12: "bootstrap.ocp4.example.com", 26: "\x23\x28",
	}
	if diff := cmp.Diff(want, options(got)); diff != "" {
		t.Errorf("64 bytes of options: -want +got:\n%s", diff)
	}
	if a := &l.last; a.Durable || a.Acked != ip("192.168.67.10") || a.To.String() != "192.168.67.10:68" || a.MAC != node || len(a.Frame) != packet.Headers+300 {
		t.Errorf("to %s at %s, %d bytes, acknowledged %s, stored %v", a.To, a.MAC, len(a.Frame), a.Acked, a.Durable)
	}
	if diff := cmp.Diff([]timeline.Kind{timeline.DHCPDiscover, timeline.DHCPAck}, l.events()); diff != "" {
		t.Errorf("events: %s", diff)
	}
	if got := l.send(node, bootp, giaddr("192.168.67.250"), opt(82, "\x01\x01p")); got == nil || l.last.To.String() != "192.168.67.250:67" || options(got)[82] != "\x01\x01p" {
		t.Errorf("through a relay: %v to %s", got, l.last.To)
	}
	if got := l.send(plan.MAC{0x52, 0x54, 0, 0x44, 0, 1}, bootp); got == nil || got.BootFileName != "" || yiaddr(got) != ip("192.168.67.20") {
		t.Errorf("a host without boot files: %v", got)
	}
	taken := basic()
	a := l.lease(stranger)
	taken.Reservations = append(taken.Reservations, plan.Reservation{MAC: other, Address: a, Hostname: "h.example.com"})
	l.adopt(taken)
	if got := l.send(other, bootp); got != nil {
		t.Errorf("an address that somebody still leases was given away: %s", got.Summary())
	}
	l.now++
	if got := l.send(stranger, bootp); got != nil || len(l.last.Events) != 1 || !strings.Contains(l.last.Events[0].Detail, "asks by BOOTP") {
		t.Errorf("a stranger: %v, %v", got, l.last.Events)
	}
}

// A message type of the future is no BOOTP.
func TestUnknownTypeIsNotBOOTP(t *testing.T) {
	l := newLab(t, basic())
	if got := l.send(node, dhcpv4.MessageType(18)); got != nil {
		t.Errorf("answered with %s", got.Summary())
	}
}
