package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/timeline"
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
		{"BOOTP", nil, node, 0, nil, silence, ""},
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

func TestHolds(t *testing.T) {
	const discover = dhcpv4.MessageTypeDiscover
	l := newLab(t, basic())
	seen := map[netip.Addr]bool{}
	macs := make([]plan.MAC, 5)
	for i := range macs { // five at once: five addresses
		macs[i] = plan.MAC{2, 0, 0, 0, 1, byte(i)}
		seen[yiaddr(l.send(macs[i], discover))] = true
	}
	if len(seen) != 5 {
		t.Fatalf("5 clients were offered %d addresses", len(seen))
	}
	if again := yiaddr(l.send(macs[0], discover)); again != ip("192.168.67.100") {
		t.Errorf("a repeated discover is offered %s", again)
	}
	// The pool is all offers: the oldest gives way, which is now the second client's.
	if got := l.send(stranger, discover); got == nil || yiaddr(got) != ip("192.168.67.101") {
		t.Errorf("with all addresses on offer the next client gets %v", got)
	}
	if got := l.send(macs[1], dhcpv4.MessageTypeRequest, server("192.168.67.2"), requested("192.168.67.101")); got.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("an offer that was given away is answered by %s", got.MessageType())
	}
	// A choice of another server frees the offer at once.
	l = newLab(t, basic())
	l.send(stranger, discover)
	l.send(stranger, dhcpv4.MessageTypeRequest, server("192.168.67.77"), requested("192.168.67.200"))
	l.now += foreignFor
	if got := l.send(other, discover, requested("192.168.67.100")); yiaddr(got) != ip("192.168.67.100") {
		t.Errorf("the refused offer is still held: %s", yiaddr(got))
	}
	// So does the end of its minute.
	l = newLab(t, basic())
	l.send(stranger, discover)
	l.now += holdFor
	if got := l.send(other, discover, requested("192.168.67.100")); yiaddr(got) != ip("192.168.67.100") {
		t.Errorf("after a minute the offer is still held: %s", yiaddr(got))
	}
}

func TestPoolLeases(t *testing.T) {
	l := newLab(t, basic())
	first := l.lease(stranger, opt(12, "laptop"))
	if l.last.Record.Lease.Hostname != "laptop" || l.last.Record.Expires.Unix() < start+4*3600 {
		t.Errorf("record %+v", l.last.Record)
	}
	for i := range 4 {
		if a := l.lease(plan.MAC{2, 0, 0, 0, 1, byte(i)}); !a.IsValid() || a == first {
			t.Fatalf("client %d got %s", i, a)
		}
		l.now++
	}
	if got := l.send(other, dhcpv4.MessageTypeDiscover); got != nil || !slices.Contains(l.events(), timeline.DHCPFailed) {
		t.Errorf("a full pool offers %v, events %v", got, l.events())
	}
	l.now += 4*3600 + 1
	if a := l.lease(stranger); a != first {
		t.Errorf("after its lease ended the client got %s, had %s", a, first)
	}
	// The address that was free longest goes first.
	if a := l.lease(other); a != ip("192.168.67.101") {
		t.Errorf("reused %s, want the one that was free longest", a)
	}
}

func TestIdentity(t *testing.T) {
	l := newLab(t, basic())
	firmware := l.lease(stranger) // no client id
	system := l.lease(stranger, opt(61, "\xffsystem"))
	if firmware != system {
		t.Errorf("firmware got %s, the system of the same machine %s", firmware, system)
	}
	if a := l.lease(other, opt(61, "\xffsystem")); a != system {
		t.Errorf("the same client id on another NIC got %s, want %s", a, system)
	}
	if a := l.lease(stranger, opt(61, "\xffanother")); a == system {
		t.Error("two client ids share an address")
	}
}

func TestRelease(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	l.send(other, dhcpv4.MessageTypeRelease, ciaddr(a.String()))
	if len(l.e.Leases(l.now)) != 1 {
		t.Error("a stranger's release took the lease")
	}
	l.send(stranger, dhcpv4.MessageTypeRelease, ciaddr(a.String()))
	if !l.last.Durable || l.last.Record.Expires.Unix() > l.now || len(l.e.Leases(l.now)) != 0 {
		t.Errorf("release left %v, record %+v", l.e.Leases(l.now), l.last.Record)
	}
	if again := l.lease(stranger); again != a || !l.last.Durable {
		t.Errorf("after a release the client got %s by a record: %v", again, l.last.Durable)
	}
}

func TestDecline(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	l.send(other, dhcpv4.MessageTypeDecline, requested(a.String()), server("192.168.67.2"))
	if l.last.Durable {
		t.Fatal("a stranger's decline counts")
	}
	l.send(stranger, dhcpv4.MessageTypeDecline, requested(a.String()), server("192.168.67.2"))
	if !l.last.Durable || l.last.Record.State.String() != "declined" || !slices.Contains(l.events(), timeline.DHCPDecline) {
		t.Fatalf("record %+v, events %v", l.last.Record, l.events())
	}
	for i := range 4 {
		if got := l.lease(plan.MAC{2, 0, 0, 0, 1, byte(i)}, requested(a.String())); got == a {
			t.Fatal("a declined address was given to another client")
		}
	}
	if got := l.send(stranger, dhcpv4.MessageTypeDiscover); got != nil {
		t.Errorf("a declined address was offered again: %s", yiaddr(got))
	}
	l.now += quarantine
	if got := l.lease(stranger); got != a {
		t.Errorf("after the quarantine: %s", got)
	}
	l.send(node, dhcpv4.MessageTypeDecline, requested("192.168.67.10"), server("192.168.67.2"))
	if diff := cmp.Diff([]timeline.Kind{timeline.DHCPDecline}, l.events()); diff != "" {
		t.Errorf("declined reservation: %s", diff)
	}
	if got := l.lease(node); got != ip("192.168.67.10") {
		t.Errorf("after a decline the node got %s", got)
	}
}

func TestPromiseIsOnDisk(t *testing.T) {
	l := newLab(t, basic())
	l.lease(stranger)
	l.now += 600
	again := l.send(stranger, dhcpv4.MessageTypeRequest, ciaddr("192.168.67.100"))
	if l.last.Durable || again.IPAddressLeaseTime(0) != 4*time.Hour-600*time.Second {
		t.Errorf("early renewal: record %v, time %s; want what is left and no record", l.last.Durable, again.IPAddressLeaseTime(0))
	}
	l.now += 3600
	again = l.sendUnstored(stranger, dhcpv4.MessageTypeRequest, ciaddr("192.168.67.100"))
	if !l.last.Durable || again.IPAddressLeaseTime(0) != 4*time.Hour {
		t.Errorf("late renewal: record %v, time %s", l.last.Durable, again.IPAddressLeaseTime(0))
	}
	late := l.last.Record
	// While that record is on its way nothing may be promised without one.
	if l.sendUnstored(stranger, dhcpv4.MessageTypeRequest, ciaddr("192.168.67.100")); !l.last.Durable {
		t.Error("acked on a record that is not on disk yet")
	}
	// A release overtakes the word that the record before it is on disk.
	l.sendUnstored(stranger, dhcpv4.MessageTypeRelease, ciaddr("192.168.67.100"))
	l.e.Stored(&late)
	if l.sendUnstored(stranger, dhcpv4.MessageTypeRequest, requested("192.168.67.100")); !l.last.Durable {
		t.Error("acked on a record that a release replaces")
	}
	l.e.Lost(&l.last.Record, l.now)
	l.now += holdFor
	if leases := l.e.Leases(l.now); len(leases) != 0 {
		t.Errorf("a lease that was never stored is listed: %+v", leases)
	}
}

func TestRefusals(t *testing.T) {
	pxe := opt(60, "PXEClient:Arch:00007:UNDI:003000")
	foreign := func(l *lab) {
		l.send(other, dhcpv4.MessageTypeRequest, server("192.168.67.77"), requested("192.168.67.200"))
	}
	tests := []struct {
		name   string
		before func(l *lab)
		mac    plan.MAC
		mods   []dhcpv4.Modifier
		want   string // part of the event; empty: an offer
	}{
		{"unknown without a pool", nil, stranger, mod(giaddr("10.30.8.1")), "MAC 02:00:00:00:00:01 is in no node of helper.yaml; add it or give the network a pool"},
		{"known elsewhere", nil, node, mod(giaddr("10.30.8.1")), "its address 192.168.67.10 (bootstrap.ocp4.example.com) is in 192.168.67.0/24"},
		{"unknown PXE firmware", nil, stranger, mod(pxe), "wants to boot from the network (PXE BIOS)"},
		{"unknown HTTP Boot firmware", nil, stranger, mod(opt(60, "HTTPClient:Arch:00016"), opt(93, "\x00\x10")), "HTTP Boot UEFI x64"},
		{"unknown iPXE", nil, stranger, mod(opt(77, "iPXE"), opt(93, "\x00\x07")), "iPXE UEFI x64"},
		{"unknown petitboot", nil, stranger, mod(opt(93, "\x00\x0e")), "PXE petitboot"},
		{"unknown beside a foreign server", foreign, stranger, nil, "another DHCP server, 192.168.67.77, answers on network 192.168.67.0/24"},
		{"known beside a foreign server", foreign, node, mod(pxe), ""},
		{"unknown after the foreign server fell silent", func(l *lab) { foreign(l); l.now += foreignFor }, stranger, nil, ""},
		{"known elsewhere, as an ordinary client of a pool", nil, plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, basic())
			if tt.before != nil {
				tt.before(l)
			}
			got := l.send(tt.mac, dhcpv4.MessageTypeDiscover, tt.mods...)
			if tt.want == "" {
				if got == nil {
					t.Errorf("no offer; events %+v", l.last.Events)
				}
				return
			}
			if got != nil {
				t.Fatalf("offered %s", yiaddr(got))
			}
			if len(l.last.Events) != 1 || l.last.Events[0].Kind != timeline.DHCPRefused || !strings.Contains(l.last.Events[0].Detail, tt.want) {
				t.Errorf("events %+v, want a refusal with %q", l.last.Events, tt.want)
			}
		})
	}
}

func TestForeignServer(t *testing.T) {
	l := newLab(t, basic())
	l.send(stranger, dhcpv4.MessageTypeRequest, server("192.168.67.77"), requested("192.168.67.200"))
	if diff := cmp.Diff([]timeline.Kind{timeline.DHCPForeign}, l.events()); diff != "" {
		t.Fatalf("events: %s", diff)
	}
	if f := l.e.Foreign(l.now); len(f) != 1 || f[0].Server != ip("192.168.67.77") {
		t.Errorf("foreign servers %+v", f)
	}
	var a Answer
	l.e.Heard(l.link(), ip("192.168.67.78"), other, l.now, &a)
	if f := l.e.Foreign(l.now); len(f) != 1 || f[0].MAC != other || len(a.Events) != 1 {
		t.Errorf("foreign servers %+v, events %+v", f, a.Events)
	}
	l.now += foreignFor
	if f := l.e.Foreign(l.now); len(f) != 0 {
		t.Errorf("still foreign after ten minutes: %+v", f)
	}
	// This machine's own answers, as a relay repeats them, are no news.
	l.e.Heard(l.link(), ip("192.168.67.2"), other, l.now, &a)
	if len(l.e.Foreign(l.now)) != 0 || len(a.Events) != 0 {
		t.Errorf("heard itself: %+v", a.Events)
	}
}

func TestReload(t *testing.T) {
	l := newLab(t, basic())
	leased := l.lease(stranger)
	l.send(other, dhcpv4.MessageTypeDiscover) // holds .101

	d := basic()
	newcomer := plan.MAC{0x52, 0x54, 0, 0x55, 0, 1}
	second := plan.MAC{0x52, 0x54, 0, 0x55, 0, 2}
	d.Reservations = append(d.Reservations,
		plan.Reservation{MAC: newcomer, Address: leased, Node: "w.ocp4.example.com", Hostname: "w.ocp4.example.com"},
		plan.Reservation{MAC: second, Address: ip("192.168.67.101"), Hostname: "h.example.com"})
	l.adopt(d)
	if got := l.lease(second); got != ip("192.168.67.101") {
		t.Errorf("an offered address that became reserved: %s", got)
	}
	if got := l.send(newcomer, dhcpv4.MessageTypeDiscover); got != nil || !slices.Contains(l.events(), timeline.DHCPFailed) {
		t.Errorf("an address that somebody still has was offered: %v, %v", got, l.events())
	}
	if got := l.send(stranger, dhcpv4.MessageTypeRequest, ciaddr(leased.String())); got == nil || got.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("a lease of a reserved address was renewed: %v", got)
	}
	l.now += 4*3600 + 2
	if got := l.lease(newcomer); got != leased {
		t.Errorf("after the old lease ended the node got %s", got)
	}

	// A pool that moves keeps its live leases to their end, and the old policy's leases come back with it.
	l = newLab(t, basic())
	leased = l.lease(stranger)
	d = basic()
	d.Subnets[0].Pool = plan.Range{First: ip("192.168.67.150"), Last: ip("192.168.67.160")}
	l.adopt(d)
	if leases := l.e.Leases(l.now); len(leases) != 1 || leases[0].Address != leased {
		t.Errorf("leases after the pool moved: %+v", leases)
	}
	if got := l.lease(other); got != ip("192.168.67.150") {
		t.Errorf("first address of the new pool: %s", got)
	}
	l.adopt(basic())
	if got := l.lease(stranger); got != leased {
		t.Errorf("after the pool came back: %s", got)
	}
}

func TestStoredLeasesCount(t *testing.T) {
	l := newLab(t, basic())
	leased := l.lease(stranger)
	record := l.last.Record.Lease
	l.e = New([]stateLease{record})
	l.adopt(basic())
	if got := l.lease(other, requested(leased.String())); got == leased {
		t.Error("a stored lease was given to another client")
	}
	if got := l.lease(stranger); got != leased {
		t.Errorf("after a restart the client got %s, had %s", got, leased)
	}
}

func TestAcked(t *testing.T) {
	l := newLab(t, basic())
	l.lease(node)
	if l.last.Acked != ip("192.168.67.10") || l.last.Client != node || l.last.Durable {
		t.Errorf("node: acked %s to %s, durable %v", l.last.Acked, l.last.Client, l.last.Durable)
	}
	l.lease(stranger)
	if l.last.Acked.IsValid() {
		t.Error("a pool address counts as a node's")
	}
	if err := l.e.Check(l.now); err != nil {
		t.Error(err)
	}
}

// A flood of invented MACs makes few events and leaves nodes and leases alone.
func TestFlood(t *testing.T) {
	d := basic()
	d.Subnets[0].Pool = plan.Range{First: ip("192.168.67.100"), Last: ip("192.168.67.200")}
	l := newLab(t, d)
	leased := l.lease(stranger)
	events := 0
	for i := range 20000 {
		l.send(plan.MAC{2, 1, byte(i >> 16), byte(i >> 8), byte(i), 1}, dhcpv4.MessageTypeDiscover)
		events += len(l.last.Events)
	}
	if events > noteBurst {
		t.Errorf("%d events", events)
	}
	if got := len(l.e.table.byAddr); got > 101 {
		t.Errorf("%d bindings of 101 addresses", got)
	}
	if got := l.lease(node); got != ip("192.168.67.10") || len(l.last.Events) == 0 {
		t.Errorf("node got %s, events %v", got, l.events())
	}
	if got := l.lease(other); !got.IsValid() {
		t.Error("a newcomer gets nothing")
	}
	if got := l.lease(stranger); got != leased {
		t.Errorf("the leased client got %s, had %s", got, leased)
	}
}

func TestHandleAllocatesNothing(t *testing.T) {
	l := newLab(t, basic())
	pxe := mod(opt(60, "PXEClient:Arch:00007"), opt(93, "\x00\x07"), opt(61, "\x00uuid"))
	l.send(node, dhcpv4.MessageTypeDiscover, pxe...)
	req := lastRequest(t, node, dhcpv4.MessageTypeDiscover, pxe...)
	link := l.link()
	if n := testing.AllocsPerRun(100, func() { l.e.Handle(req, link, l.now, &l.last) }); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
	if len(l.last.Frame) == 0 {
		t.Fatal("no answer")
	}
}
