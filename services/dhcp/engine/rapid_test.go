package engine

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
)

// RFC 4039 section 3.1: an ACK with option 80 for a DISCOVER that has it.
func TestRapidCommit(t *testing.T) {
	const discover = dhcpv4.MessageTypeDiscover
	rapid := opt(80, "")
	for _, c := range []struct {
		name    string
		mac     plan.MAC
		before  func(l *lab)
		mods    []dhcpv4.Modifier
		want    dhcpv4.MessageType // none: silence
		yiaddr  string
		durable bool
	}{
		{"node", node, nil, mod(rapid), dhcpv4.MessageTypeAck, "192.168.67.10", false},
		{"stranger", stranger, nil, mod(rapid), dhcpv4.MessageTypeAck, "192.168.67.100", true},
		{"stranger that asks for an address", stranger, nil, mod(rapid, requested("192.168.67.103")), dhcpv4.MessageTypeAck, "192.168.67.103", true},
		{"stranger with a lease", stranger, func(l *lab) { l.lease(stranger); l.now += 60 }, mod(rapid), dhcpv4.MessageTypeAck, "192.168.67.100", false},
		{"not asked for", stranger, nil, nil, dhcpv4.MessageTypeOffer, "192.168.67.100", false},
		{"through a relay", stranger, nil, mod(rapid, giaddr("192.168.67.250")), dhcpv4.MessageTypeAck, "192.168.67.100", true},
		{"node beside another server", node, hearOther, mod(rapid), dhcpv4.MessageTypeOffer, "192.168.67.10", false},
		{"node after the other server fell silent", node, func(l *lab) { hearOther(l); l.now += foreignFor }, mod(rapid), dhcpv4.MessageTypeAck, "192.168.67.10", false},
		{"stranger beside another server", stranger, hearOther, mod(rapid), dhcpv4.MessageTypeNone, "", false},
		{"firmware of a stranger", stranger, nil, mod(rapid, opt(60, "PXEClient")), dhcpv4.MessageTypeNone, "", false},
	} {
		l := newLab(t, basic())
		if c.before != nil {
			c.before(l)
		}
		got := l.sendUnstored(c.mac, discover, c.mods...)
		if got == nil {
			if c.want != dhcpv4.MessageTypeNone {
				t.Errorf("%s: silence, want %s", c.name, c.want)
			}
			continue
		}
		if got.MessageType() != c.want || yiaddr(got) != ip(c.yiaddr) || l.last.Durable != c.durable {
			t.Errorf("%s: %s of %s, stored first: %v; want %s of %s, %v", c.name, got.MessageType(), yiaddr(got), l.last.Durable, c.want, c.yiaddr, c.durable)
		}
		_, has := options(got)[80]
		if is := c.want == dhcpv4.MessageTypeAck; has != is || l.last.Acked.IsValid() != is || is && got.IPAddressLeaseTime(0) == 0 {
			t.Errorf("%s: option 80 %v, acknowledged %s, lease %s", c.name, has, l.last.Acked, got.IPAddressLeaseTime(0))
		}
	}
	l := newLab(t, basic())
	l.sendUnstored(stranger, discover, rapid)
	l.e.Lost(&l.last.Record, l.now)
	l.now += holdFor
	if leases := l.e.Leases(l.now); len(leases) != 0 {
		t.Errorf("an address that could not be stored is a lease: %v", leases)
	}
	if got := l.lease(node, opt(80, "")); got != ip("192.168.67.10") { // an ACK of a REQUEST is not rapid
		t.Errorf("node got %s", got)
	}
}

func hearOther(l *lab) {
	l.e.Heard(l.link(), ip("192.168.67.77"), other, l.now, &l.last)
}
