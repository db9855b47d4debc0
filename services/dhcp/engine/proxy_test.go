package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services/dhcp/packet"
	"helperd/timeline"
)

const uuid = "\x00ABCDEFGHIJKLMNOP"

// proxied is basic with another server on the first network, and behind the relay too.
func proxied() *plan.DHCP {
	d := basic()
	for i := range d.Subnets {
		d.Subnets[i].Mode = plan.ModeProxy
	}
	return d
}

// ask4011 gives the answer to what a machine sends to port 4011, or nil.
func (l *lab) ask4011(from string, mac plan.MAC, t dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	l.t.Helper()
	l.e.HandleProxy(lastRequest(l.t, mac, t, mods...), netip.MustParseAddrPort(from), l.now, &l.last)
	if len(l.last.Frame) == 0 {
		return nil
	}
	got, err := dhcpv4.FromBytes(l.last.Frame[packet.Headers:])
	if err != nil {
		l.t.Fatalf("answer cannot be read: %v", err)
	}
	return got
}

// What each kind of firmware is told, and that it is the same on both ports.
func TestProxyTellsWhatToBoot(t *testing.T) {
	const script = "http://192.168.67.2:8080/boot/52-54-00-60-72-67/ipxe"
	for _, c := range []struct {
		name, file, class, control string
		mods                       []dhcpv4.Modifier
	}{
		{"BIOS ROM", "undionly.kpxe", "PXEClient", discoveryControl, mod(opt(60, "PXEClient:Arch:00000:UNDI:002001"), opt(93, "\x00\x00"))},
		{"BIOS ROM without option 93", "undionly.kpxe", "PXEClient", discoveryControl, mod(opt(60, "PXEClient"))},
		{"UEFI", "snponly.efi", "PXEClient", "", mod(opt(60, "PXEClient:Arch:00007:UNDI:003000"), opt(93, "\x00\x07"))},
		{"UEFI arm64", "snponly-arm64.efi", "PXEClient", "", mod(opt(60, "PXEClient:Arch:00011:UNDI:003000"), opt(93, "\x00\x0b"))},
		{"iPXE", script, "PXEClient", "", mod(opt(60, "PXEClient:Arch:00000:UNDI:002001"), opt(93, "\x00\x00"), opt(77, "iPXE"))},
		{"iPXE on HTTP Boot", script, "PXEClient", "", mod(opt(60, "HTTPClient:Arch:00016"), opt(93, "\x00\x10"), opt(175, "\xb1\x05"))},
		{"HTTP Boot", "http://192.168.67.2:8080/boot/snponly.efi", "HTTPClient", "", mod(opt(60, "HTTPClient:Arch:00016:UNDI:003000"), opt(93, "\x00\x10"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, proxied())
			mods := append(c.mods, opt(97, uuid), dhcpv4.WithRequestedOptions(dhcpv4.OptionRouter, dhcpv4.OptionSubnetMask, dhcpv4.OptionIPAddressLeaseTime))
			offer := l.send(node, dhcpv4.MessageTypeDiscover, mods...)
			if offer == nil || offer.MessageType() != dhcpv4.MessageTypeOffer {
				t.Fatalf("no offer: %v", offer)
			}
			checkProxy(t, offer, c.file, c.class, c.control)
			if l.last.To != netip.MustParseAddrPort("255.255.255.255:68") || l.last.MAC != broadcastMAC() || !offer.IsBroadcast() {
				t.Errorf("offer goes to %v %v, broadcast flag %v; the client has no address yet", l.last.To, l.last.MAC, offer.IsBroadcast())
			}
			ack := l.ask4011("192.168.67.10:4011", node, dhcpv4.MessageTypeRequest, append(mods, ciaddr("192.168.67.10"))...)
			if ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck {
				t.Fatalf("no ack on 4011: %v", ack)
			}
			checkProxy(t, ack, c.file, c.class, c.control)
			if !l.last.Routed || l.last.To != netip.MustParseAddrPort("192.168.67.10:4011") || ack.ClientIPAddr.String() != "192.168.67.10" {
				t.Errorf("ack goes to %v with ciaddr %v; want where the request came from", l.last.To, ack.ClientIPAddr)
			}
			if l.last.Durable || l.last.Acked.IsValid() {
				t.Error("an answer with a boot file alone is no lease and no proof of an address")
			}
		})
	}
}

// checkProxy wants a boot file in m and nothing that belongs to the other server.
func checkProxy(t *testing.T, m *dhcpv4.DHCPv4, file, class, control string) {
	t.Helper()
	got := func(code uint8) string { return string(m.Options.Get(dhcpv4.GenericOptionCode(code))) }
	if m.BootFileName != file || got(67) != file || m.ServerIPAddr.String() != "192.168.67.2" || got(66) != "192.168.67.2" {
		t.Errorf("boot file %q, option 67 %q, siaddr %s, option 66 %q", m.BootFileName, got(67), m.ServerIPAddr, got(66))
	}
	if got(54) != "\xc0\xa8\x43\x02" || got(60) != class || got(43) != control || got(97) != uuid {
		t.Errorf("server id %x, class %q, option 43 %x, option 97 %q", got(54), got(60), got(43), got(97))
	}
	if !m.YourIPAddr.IsUnspecified() {
		t.Errorf("a proxy gives address %s", m.YourIPAddr)
	}
	var codes []uint8
	for code := range m.Options {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	want := []uint8{53, 54, 60, 66, 67, 97}
	if control != "" {
		want = append([]uint8{43}, want...)
	}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("options of the answer (-want +got):\n%s", diff)
	}
}

func TestProxyIsSilent(t *testing.T) {
	rom := mod(opt(60, "PXEClient:Arch:00000"), opt(93, "\x00\x00"))
	for _, c := range []struct {
		name string
		mac  plan.MAC
		typ  dhcpv4.MessageType
		mods []dhcpv4.Modifier
		tell string // in the event; empty: none
	}{
		{"a node's operating system", node, dhcpv4.MessageTypeDiscover, nil, ""},
		{"another operating system", stranger, dhcpv4.MessageTypeDiscover, nil, ""},
		{"a stranger that wants to boot", stranger, dhcpv4.MessageTypeDiscover, rom, "is in no node"},
		{"a node of another network", plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, dhcpv4.MessageTypeDiscover, rom, "10.30.8.10"},
		{"a host that wants to boot", plan.MAC{0x52, 0x54, 0, 0x44, 0, 1}, dhcpv4.MessageTypeDiscover, rom, ""},
		{"an architecture without a file", node, dhcpv4.MessageTypeDiscover, mod(opt(60, "PXEClient"), opt(93, "\x00\x06")), "32-bit UEFI"},
		{"selecting the other server", node, dhcpv4.MessageTypeRequest, append(rom, server("192.168.67.1"), requested("192.168.67.10")), "gives the addresses"},
		{"selecting us without an address", node, dhcpv4.MessageTypeRequest, append(rom, server("192.168.67.2")), ""},
		{"INIT-REBOOT", node, dhcpv4.MessageTypeRequest, append(rom, requested("192.168.67.10")), ""},
		{"RENEWING", node, dhcpv4.MessageTypeRequest, mod(ciaddr("192.168.67.10")), ""},
		{"INFORM", node, dhcpv4.MessageTypeInform, append(rom, ciaddr("192.168.67.10")), ""},
		{"RELEASE", node, dhcpv4.MessageTypeRelease, mod(ciaddr("192.168.67.10"), server("192.168.67.2")), ""},
		{"DECLINE", node, dhcpv4.MessageTypeDecline, mod(requested("192.168.67.10"), server("192.168.67.2")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, proxied())
			if got := l.send(c.mac, c.typ, c.mods...); got != nil {
				t.Errorf("got %s", got.Summary())
			}
			text := ""
			for _, e := range l.last.Events {
				if e.Kind != timeline.DHCPDiscover {
					text += e.Detail
				}
			}
			if (text == "") != (c.tell == "") || !strings.Contains(text, c.tell) {
				t.Errorf("event %q, want %q in it", text, c.tell)
			}
		})
	}
}

func TestProxy4011IsSilent(t *testing.T) {
	rom := mod(opt(60, "PXEClient:Arch:00000"), opt(93, "\x00\x00"))
	server := basic()
	for _, c := range []struct {
		name, from string
		dhcp       *plan.DHCP
		mac        plan.MAC
		typ        dhcpv4.MessageType
		mods       []dhcpv4.Modifier
	}{
		{"a stranger", "192.168.67.77:68", proxied(), stranger, dhcpv4.MessageTypeRequest, append(rom, ciaddr("192.168.67.77"))},
		{"an operating system", "192.168.67.10:68", proxied(), node, dhcpv4.MessageTypeRequest, mod(ciaddr("192.168.67.10"))},
		{"an answer wanted elsewhere", "192.168.67.10:68", proxied(), node, dhcpv4.MessageTypeRequest, append(rom, ciaddr("192.168.67.99"))},
		{"from a network that is not ours", "203.0.113.7:68", proxied(), node, dhcpv4.MessageTypeRequest, append(rom, ciaddr("203.0.113.7"))},
		{"a DISCOVER", "192.168.67.10:68", proxied(), node, dhcpv4.MessageTypeDiscover, append(rom, ciaddr("192.168.67.10"))},
		{"a network with mode server", "192.168.67.10:68", server, node, dhcpv4.MessageTypeRequest, append(rom, ciaddr("192.168.67.10"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := newLab(t, c.dhcp).ask4011(c.from, c.mac, c.typ, c.mods...); got != nil {
				t.Errorf("got %s", got.Summary())
			}
		})
	}
}

// A relay brings the DISCOVER to both servers; it must broadcast our OFFER, which names no address to send it to.
func TestProxyThroughRelay(t *testing.T) {
	l := newLab(t, proxied())
	sno := plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}
	d := proxied()
	d.Reservations[2].Boot = bootFiles()
	l.adopt(d)
	mods := mod(opt(60, "PXEClient"), opt(93, "\x00\x07"), giaddr("10.30.8.1"), opt(82, "\x01\x04eth0"))
	offer := l.send(sno, dhcpv4.MessageTypeDiscover, mods...)
	if offer == nil {
		t.Fatal("no offer")
	}
	if !l.last.Routed || l.last.To != netip.MustParseAddrPort("10.30.8.1:67") || !offer.IsBroadcast() {
		t.Errorf("offer goes to %v, routed %v, broadcast %v", l.last.To, l.last.Routed, offer.IsBroadcast())
	}
	if got := string(offer.Options.Get(dhcpv4.GenericOptionCode(82))); got != "\x01\x04eth0" {
		t.Errorf("option 82 %q is not echoed", got)
	}
}

// A REQUEST on port 67 that names the proxy comes from firmware that has its address and wants the boot file.
func TestProxyAskedOnPort67(t *testing.T) {
	l := newLab(t, proxied())
	ack := l.send(node, dhcpv4.MessageTypeRequest, opt(60, "PXEClient"), opt(93, "\x00\x00"), server("192.168.67.2"), ciaddr("192.168.67.10"), opt(97, uuid))
	if ack == nil {
		t.Fatal("no answer")
	}
	checkProxy(t, ack, "undionly.kpxe", "PXEClient", discoveryControl)
	if l.last.To != netip.MustParseAddrPort("192.168.67.10:68") || l.last.MAC != node {
		t.Errorf("ack goes to %v %v", l.last.To, l.last.MAC)
	}
}

// The other server's address for a node is another than the file's: names and ignition would be another machine's.
func TestProxyTellsOfAnotherAddress(t *testing.T) {
	l := newLab(t, proxied())
	l.send(node, dhcpv4.MessageTypeRequest, server("192.168.67.1"), requested("192.168.67.55"))
	i := slices.IndexFunc(l.last.Events, func(e timeline.Event) bool { return e.Kind == timeline.DHCPFailed })
	if i < 0 || !strings.Contains(l.last.Events[i].Detail, "reserve 192.168.67.10 for MAC "+node.String()) {
		t.Errorf("events %v", l.last.Events)
	}
}

// A pool of mode proxy gives nothing, and a machine of both kinds of network on
// one link is served by the one that knows it.
func TestProxyBesideServer(t *testing.T) {
	d := basic()
	d.Subnets[0].Mode = plan.ModeProxy
	second := d.Subnets[0]
	second.Prefix, second.Mode, second.Router = netip.MustParsePrefix("10.9.0.0/24"), plan.ModeServer, ip("10.9.0.1")
	second.Pool = plan.Range{First: ip("10.9.0.100"), Last: ip("10.9.0.110")}
	d.Subnets = append(d.Subnets, second)
	l := newLab(t, d)
	link := append(l.link(), l.policy.at(ip("10.9.0.1")))
	send := func(mac plan.MAC) *dhcpv4.DHCPv4 {
		l.e.Handle(lastRequest(t, mac, dhcpv4.MessageTypeDiscover), link, l.now, &l.last)
		if len(l.last.Frame) == 0 {
			return nil
		}
		m, err := dhcpv4.FromBytes(l.last.Frame[packet.Headers:])
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if got := send(stranger); got == nil || !second.Prefix.Contains(yiaddr(got)) {
		t.Errorf("the pool of the other network gave %v", got)
	}
	if got := send(node); got != nil {
		t.Errorf("the node's operating system got %s", got.Summary())
	}
}

// A proxy's answer costs no allocation, and neither does silence.
func TestProxyAllocatesNothing(t *testing.T) {
	l := newLab(t, proxied())
	mods := mod(opt(60, "PXEClient:Arch:00000"), opt(93, "\x00\x00"), opt(97, uuid), ciaddr("192.168.67.10"))
	discover := lastRequest(t, node, dhcpv4.MessageTypeDiscover, mods...)
	ask := lastRequest(t, node, dhcpv4.MessageTypeRequest, mods...)
	link, from := l.link(), netip.MustParseAddrPort("192.168.67.10:4011")
	if n := testing.AllocsPerRun(200, func() {
		l.e.Handle(discover, link, l.now, &l.last)
		l.e.HandleProxy(ask, from, l.now, &l.last)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever comes to either port, a proxy gives no address and no lease, and
// answers on port 4011 nobody but who asked.
func FuzzProxy(f *testing.F) {
	for _, mods := range [][]dhcpv4.Modifier{
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), opt(60, "PXEClient:Arch:00000"), opt(93, "\x00\x00"), opt(97, uuid)},
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), opt(60, "HTTPClient:Arch:00016"), opt(93, "\x00\x10"), giaddr("192.168.67.1"), opt(82, "\x01\x01x")},
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), opt(60, "PXEClient"), server("192.168.67.2"), ciaddr("192.168.67.10")},
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), server("192.168.67.1"), requested("192.168.67.11")},
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeInform), opt(77, "iPXE"), ciaddr("192.168.67.10")},
	} {
		d, err := dhcpv4.New(append(mods, dhcpv4.WithHwAddr(node[:]))...)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(d.ToBytes(), uint32(0xc0a8430a), uint16(4011))
	}
	l := newLab(f, proxied())
	var req packet.Request
	f.Fuzz(func(t *testing.T, in []byte, addr uint32, port uint16) {
		if req.Parse(in) != nil {
			return
		}
		l.now += 10
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}), port)
		l.e.HandleProxy(&req, from, l.now, &l.last)
		l.checkNoAddress(t)
		if len(l.last.Frame) > 0 && l.last.To != from {
			t.Errorf("answer to %v, asked by %v", l.last.To, from)
		}
		l.e.Handle(&req, l.link(), l.now, &l.last)
		l.checkNoAddress(t)
	})
}

func (l *lab) checkNoAddress(t *testing.T) {
	t.Helper()
	if l.last.Durable || l.last.Acked.IsValid() || len(l.e.table.byAddr) > 0 {
		t.Fatalf("a proxy keeps leases: %+v", l.last)
	}
	if len(l.last.Frame) == 0 {
		return
	}
	got, err := dhcpv4.FromBytes(l.last.Frame[packet.Headers:])
	if err != nil {
		t.Fatal(err)
	}
	if !got.YourIPAddr.IsUnspecified() || got.Options.Has(dhcpv4.OptionIPAddressLeaseTime) || got.Options.Has(dhcpv4.OptionSubnetMask) || got.BootFileName == "" && !got.Options.Has(dhcpv4.GenericOptionCode(packet.ConfigFile)) {
		t.Errorf("answer %s", got.Summary())
	}
}
