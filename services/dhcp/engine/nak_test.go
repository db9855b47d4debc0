package engine

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
)

// Beside another server a NAK to a machine of which nothing is known would take
// the address away that the other one gave. Machines of the file are ours.
func TestNoNAKForClientsOfAnother(t *testing.T) {
	const request, nak = dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeNak
	for _, c := range []struct {
		name string
		mac  plan.MAC
		mods []dhcpv4.Modifier
		want dhcpv4.MessageType // none: silence
	}{
		{"INIT-REBOOT on its network", stranger, mod(requested("10.0.0.7")), 0},
		{"INIT-REBOOT at a reserved address", stranger, mod(requested("192.168.67.10")), 0},
		{"INIT-REBOOT at an address of the pool", stranger, mod(requested("192.168.67.100")), 0},
		{"RENEWING", stranger, mod(ciaddr("10.0.0.7")), 0},
		{"REBINDING", stranger, mod(ciaddr("192.168.67.200"), dhcpv4.WithBroadcast(true)), 0},
		{"SELECTING the other", stranger, mod(server("192.168.67.77"), requested("10.0.0.7")), 0},
		{"SELECTING the other, a node", node, mod(server("192.168.67.77"), requested("10.0.0.7")), 0},
		{"INIT-REBOOT of a node with the other's address", node, mod(requested("10.0.0.7")), nak},
		{"RENEWING of a node with the other's address", node, mod(ciaddr("192.168.67.200")), nak},
	} {
		l := newLab(t, basic())
		l.lease(other)
		hearOther(l)
		got := l.send(c.mac, request, c.mods...)
		if got == nil && c.want != 0 || got != nil && got.MessageType() != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}
