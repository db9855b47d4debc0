package engine

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
)

// Each case is one request of RFC 2131 section 4.3 after some others.
func TestConformance(t *testing.T) {
	const (
		discover = dhcpv4.MessageTypeDiscover
		request  = dhcpv4.MessageTypeRequest
		ack      = dhcpv4.MessageTypeAck
		nak      = dhcpv4.MessageTypeNak
		offer    = dhcpv4.MessageTypeOffer
		silence  = dhcpv4.MessageTypeNone
	)
	us, them := server("192.168.67.2"), server("192.168.67.77")
	tests := []struct {
		name   string
		before func(l *lab)
		mac    plan.MAC
		typ    dhcpv4.MessageType
		mods   []dhcpv4.Modifier
		want   dhcpv4.MessageType
		yiaddr string
	}{
		{"discover of a node", nil, node, discover, nil, offer, "192.168.67.10"},
		{"discover of a node that asks for another address", nil, node, discover, mod(requested("192.168.67.101")), offer, "192.168.67.10"},
		{"discover of a node whatever its client id", nil, node, discover, mod(opt(61, "\x00uuid")), offer, "192.168.67.10"},
		{"discover of the other NIC of a bond", nil, bondNIC, discover, nil, offer, "192.168.67.10"},
		{"discover of a host without boot files", nil, plan.MAC{0x52, 0x54, 0, 0x44, 0, 1}, discover, nil, offer, "192.168.67.20"},
		{"discover of a stranger", nil, stranger, discover, nil, offer, "192.168.67.100"},
		{"discover of a stranger that asks for an address", nil, stranger, discover, mod(requested("192.168.67.103")), offer, "192.168.67.103"},
		{"discover that asks for a reserved address", nil, stranger, discover, mod(requested("192.168.67.10")), offer, "192.168.67.100"},
		{"discover that asks for an offered address", func(l *lab) { l.send(other, discover) }, stranger, discover, mod(requested("192.168.67.100")), offer, "192.168.67.101"},
		{"discover behind a relay without a pool", nil, stranger, discover, mod(giaddr("10.30.8.1")), silence, ""},
		{"discover behind an unknown relay", nil, stranger, discover, mod(giaddr("172.16.0.1")), silence, ""},
		{"node behind a relay", nil, plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, discover, mod(giaddr("10.30.8.1")), offer, "10.30.8.10"},
		{"node behind a relay in another network than its own", nil, node, discover, mod(giaddr("10.30.8.1")), silence, ""},
		{"link selection beats giaddr", nil, plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, discover, mod(giaddr("192.168.67.250"), opt(82, "\x05\x04\x0a\x1e\x08\x00")), offer, "10.30.8.10"},
		{"subnet selection of a client", nil, plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, discover, mod(opt(118, "\x0a\x1e\x08\x00")), offer, "10.30.8.10"},

		{"SELECTING", func(l *lab) { l.send(stranger, discover) }, stranger, request, mod(us, requested("192.168.67.100")), ack, "192.168.67.100"},
		{"SELECTING of a node without a discover", nil, node, request, mod(us, requested("192.168.67.10")), ack, "192.168.67.10"},
		{"SELECTING another address than reserved", nil, node, request, mod(us, requested("192.168.67.100")), nak, ""},
		{"SELECTING an offer of before a restart", nil, stranger, request, mod(us, requested("192.168.67.102")), ack, "192.168.67.102"},
		{"SELECTING what another client holds", func(l *lab) { l.send(other, discover) }, stranger, request, mod(us, requested("192.168.67.100")), nak, ""},
		{"SELECTING another server", func(l *lab) { l.send(stranger, discover) }, stranger, request, mod(them, requested("192.168.67.200")), silence, ""},
		{"SELECTING another server as a node", nil, node, request, mod(them, requested("192.168.67.10")), silence, ""},
		{"SELECTING nothing", nil, node, request, mod(us), silence, ""},

		{"INIT-REBOOT right", func(l *lab) { l.lease(stranger) }, stranger, request, mod(requested("192.168.67.100")), ack, "192.168.67.100"},
		{"INIT-REBOOT right after the lease ended", func(l *lab) { l.lease(stranger); l.now += 5 * 3600 }, stranger, request, mod(requested("192.168.67.100")), ack, "192.168.67.100"},
		{"INIT-REBOOT of a node", nil, node, request, mod(requested("192.168.67.10")), ack, "192.168.67.10"},
		{"INIT-REBOOT wrong of a node", nil, node, request, mod(requested("10.0.0.7")), nak, ""},
		{"INIT-REBOOT other address than ours", func(l *lab) { l.lease(stranger) }, stranger, request, mod(requested("192.168.67.104")), nak, ""},
		{"INIT-REBOOT on the wrong network", nil, stranger, request, mod(requested("10.0.0.7")), nak, ""},
		{"INIT-REBOOT through a relay on the wrong network", nil, plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, request, mod(giaddr("10.30.8.1"), requested("10.0.0.7")), nak, ""},
		{"INIT-REBOOT without a record", nil, stranger, request, mod(requested("192.168.67.104")), silence, ""},
		{"INIT-REBOOT without a record at another's address", func(l *lab) { l.lease(other) }, stranger, request, mod(requested("192.168.67.100")), nak, ""},
		{"INIT-REBOOT without a record at a reserved address", nil, stranger, request, mod(requested("192.168.67.10")), nak, ""},
		{"INIT-REBOOT after an offer that was not taken", func(l *lab) { l.send(stranger, discover) }, stranger, request, mod(requested("192.168.67.200")), silence, ""},
		{"INIT-REBOOT of a stranger where strangers are ignored", nil, stranger, request, mod(giaddr("10.30.8.1"), requested("10.0.0.7")), silence, ""},

		{"RENEWING", func(l *lab) { l.lease(stranger); l.now += 7200 }, stranger, request, mod(ciaddr("192.168.67.100")), ack, "192.168.67.100"},
		{"RENEWING of a node", nil, node, request, mod(ciaddr("192.168.67.10")), ack, "192.168.67.10"},
		{"RENEWING of a node at its old address", nil, node, request, mod(ciaddr("192.168.67.100")), nak, ""},
		{"RENEWING without a record", nil, stranger, request, mod(ciaddr("192.168.67.104")), silence, ""},
		{"REBINDING on the wrong network", nil, node, request, mod(ciaddr("172.16.0.7")), nak, ""},
		{"RENEWING through a router", nil, plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, request, mod(ciaddr("10.30.8.10")), ack, "10.30.8.10"},

		{"INFORM", nil, stranger, dhcpv4.MessageTypeInform, mod(ciaddr("192.168.67.222")), ack, "0.0.0.0"},
		{"INFORM from elsewhere", nil, stranger, dhcpv4.MessageTypeInform, mod(ciaddr("8.8.8.8")), silence, ""},
		{"INFORM where strangers are ignored", nil, stranger, dhcpv4.MessageTypeInform, mod(ciaddr("10.30.8.20")), silence, ""},
		{"BOOTP of a stranger", nil, stranger, 0, nil, silence, ""},
		{"a server's message", nil, node, offer, nil, silence, ""},
		{"multicast MAC", nil, plan.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, discover, nil, silence, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, basic())
			if tt.before != nil {
				tt.before(l)
			}
			got := l.send(tt.mac, tt.typ, tt.mods...)
			if got == nil {
				if tt.want != silence {
					t.Errorf("silence, want %s", tt.want)
				}
				return
			}
			if got.MessageType() != tt.want {
				t.Fatalf("%s, want %s", got.MessageType(), tt.want)
			}
			if want := netip.MustParseAddr(orZero(tt.yiaddr)); yiaddr(got) != want {
				t.Errorf("address %s, want %s", yiaddr(got), want)
			}
			if got.ServerIdentifier().String() != "192.168.67.2" {
				t.Errorf("server id %s", got.ServerIdentifier())
			}
		})
	}
}

func mod(m ...dhcpv4.Modifier) []dhcpv4.Modifier { return m }

func orZero(s string) string {
	if s == "" {
		return "0.0.0.0"
	}
	return s
}

func TestWhereAnswersGo(t *testing.T) {
	const discover, request = dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest
	edge := plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}
	broadcast := plan.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	tests := []struct {
		name string
		mac  plan.MAC
		typ  dhcpv4.MessageType
		mods []dhcpv4.Modifier
		to   string // routed
		dest string // frame
		link plan.MAC
	}{
		{"unicast to a client without an address", node, discover, mod(dhcpv4.WithBroadcast(false)), "", "192.168.67.10", node},
		{"broadcast flag", node, discover, mod(dhcpv4.WithBroadcast(true)), "", "255.255.255.255", broadcast},
		{"nak", node, request, mod(dhcpv4.WithBroadcast(false), requested("10.0.0.1")), "", "255.255.255.255", broadcast},
		{"renewing on the link, whatever the flag", node, request, mod(dhcpv4.WithBroadcast(true), ciaddr("192.168.67.10")), "", "192.168.67.10", node},
		{"renewing through a router", edge, request, mod(ciaddr("10.30.8.10")), "10.30.8.10:68", "", plan.MAC{}},
		{"relay", edge, discover, mod(giaddr("10.30.8.1")), "10.30.8.1:67", "", plan.MAC{}},
		{"relay and ciaddr", edge, request, mod(giaddr("10.30.8.1"), ciaddr("10.30.8.10")), "10.30.8.1:67", "", plan.MAC{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, basic())
			if l.send(tt.mac, tt.typ, tt.mods...) == nil {
				t.Fatal("no answer")
			}
			a := &l.last
			if tt.to != "" {
				if a.To.String() != tt.to || !a.Routed || a.Source != ip("192.168.67.2") {
					t.Errorf("routed %v from %s to %s, want to %s", a.Routed, a.Source, a.To, tt.to)
				}
				return
			}
			if a.Routed || a.To.String() != tt.dest+":68" || a.MAC != tt.link || a.Source != ip("192.168.67.2") {
				t.Errorf("routed %v, from %s to %s at %s; want %s at %s", a.Routed, a.Source, a.To, a.MAC, tt.dest, tt.link)
			}
		})
	}
	l := newLab(t, basic())
	if got := l.send(edge, request, giaddr("10.30.8.1"), requested("10.0.0.7"), dhcpv4.WithBroadcast(false)); got == nil || !got.IsBroadcast() {
		t.Error("a nak through a relay has no broadcast flag, so the relay would unicast it to an address that the client does not have")
	}
}

func TestOptions(t *testing.T) {
	l := newLab(t, basic())
	prl := dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionDomainNameServer, dhcpv4.OptionHostName, dhcpv4.OptionDomainName,
		dhcpv4.OptionInterfaceMTU, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionNTPServers, dhcpv4.OptionDNSDomainSearchList)
	node := l.send(node, dhcpv4.MessageTypeDiscover, prl, dhcpv4.WithOption(dhcpv4.OptParameterRequestList(dhcpv4.GenericOptionCode(1), dhcpv4.GenericOptionCode(3),
		dhcpv4.GenericOptionCode(6), dhcpv4.GenericOptionCode(12), dhcpv4.GenericOptionCode(15), dhcpv4.GenericOptionCode(26), dhcpv4.GenericOptionCode(28),
		dhcpv4.GenericOptionCode(42), dhcpv4.GenericOptionCode(119))), opt(61, "\x01id"))
	want := map[uint8]string{
		1: "\xff\xff\xff\x00", 3: "\xc0\xa8\x43\x01", 6: "\xc0\xa8\x43\x02\xc0\xa8\x43\x03", 12: "bootstrap.ocp4.example.com", 15: "ocp4.example.com",
		26: "\x23\x28", 28: "\xc0\xa8\x43\xff", 42: "\xc0\xa8\x43\x04", 51: "\x00\x09\x3a\x80", 53: "\x02", 54: "\xc0\xa8\x43\x02",
		58: "\x00\x04\x9d\x40", 59: "\x00\x08\x13\x30", 61: "\x01id", 119: "\x04ocp4\x07example\x03com\x00",
	}
	if diff := cmp.Diff(want, options(node)); diff != "" {
		t.Errorf("node: -want +got:\n%s", diff)
	}
	pool := l.send(stranger, dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(dhcpv4.OptParameterRequestList(dhcpv4.GenericOptionCode(15), dhcpv4.GenericOptionCode(12), dhcpv4.GenericOptionCode(121), dhcpv4.GenericOptionCode(3))))
	want = map[uint8]string{
		1: "\xff\xff\xff\x00", 15: "example.com", 51: "\x00\x00\x38\x40", 53: "\x02", 54: "\xc0\xa8\x43\x02", 58: "\x00\x00\x1c\x20", 59: "\x00\x00\x31\x38",
		121: "\x00\xc0\xa8\x43\x01\x08\x0a\xc0\xa8\x43\x09",
	}
	if diff := cmp.Diff(want, options(pool)); diff != "" {
		t.Errorf("pool: -want +got:\n%s", diff)
	}
	inform := options(l.send(stranger, dhcpv4.MessageTypeInform, ciaddr("192.168.67.222")))
	if _, ok := inform[51]; ok || inform[6] == "" {
		t.Errorf("inform: %v", inform)
	}
	nak := options(l.send(stranger, dhcpv4.MessageTypeRequest, requested("10.0.0.1"), opt(61, "\x01id")))
	if diff := cmp.Diff(map[uint8]string{53: "\x06", 54: "\xc0\xa8\x43\x02", 56: nakNetwork, 61: "\x01id"}, nak); diff != "" {
		t.Errorf("nak: -want +got:\n%s", diff)
	}
	relayed := options(l.send(plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, dhcpv4.MessageTypeDiscover, giaddr("10.30.8.1"), opt(82, "\x01\x03abc")))
	if relayed[82] != "\x01\x03abc" {
		t.Errorf("relay information is not echoed: %v", relayed)
	}
	selected := options(l.send(plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, dhcpv4.MessageTypeDiscover, opt(118, "\x0a\x1e\x08\x00")))
	if selected[118] != "\x0a\x1e\x08\x00" {
		t.Errorf("subnet selection is not echoed: %v", selected)
	}
}

func options(d *dhcpv4.DHCPv4) map[uint8]string {
	out := map[uint8]string{}
	for code, val := range d.Options {
		out[code] = string(val)
	}
	return out
}
