package engine

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services/dhcp/packet"
	"helperd/state"
	"helperd/timeline"
)

const start = int64(1_800_000_000)

var (
	node     = plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x67}
	bondNIC  = plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x68}
	stranger = plan.MAC{0x02, 0, 0, 0, 0, 1}
	other    = plan.MAC{0x02, 0, 0, 0, 0, 2}
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func bootFiles() *plan.BootFiles {
	return &plan.BootFiles{
		Script: "http://192.168.67.2:8080/boot/52-54-00-60-72-67/ipxe",
		TFTP: map[uint16]string{
			plan.ArchBIOS: "undionly.kpxe", plan.ArchEFI64: "snponly.efi", plan.ArchEFI64Alt: "snponly.efi",
			plan.ArchEFIArm64: "snponly-arm64.efi", plan.ArchPPC64: "core.elf",
		},
		HTTP: map[uint16]string{
			plan.ArchHTTP64: "http://192.168.67.2:8080/boot/snponly.efi", plan.ArchHTTPArm64: "http://192.168.67.2:8080/boot/snponly-arm64.efi",
		},
		ConfigFile: "pxelinux.cfg/01-52-54-00-60-72-67", PathPrefix: map[uint16]string{plan.ArchPetitboot: "http://192.168.67.2:8080/"},
	}
}

// basic is one network with a pool of five addresses, and a second one behind a relay without a pool.
func basic() *plan.DHCP {
	return &plan.DHCP{
		Enabled: true,
		Subnets: []plan.Subnet{
			{
				Prefix: netip.MustParsePrefix("192.168.67.0/24"), Mode: plan.ModeServer, Server: ip("192.168.67.2"),
				Pool: plan.Range{First: ip("192.168.67.100"), Last: ip("192.168.67.104")}, PoolLease: 4 * time.Hour, ReservationLease: 168 * time.Hour,
				Router: ip("192.168.67.1"), DNS: []netip.Addr{ip("192.168.67.2"), ip("192.168.67.3")}, NTP: []netip.Addr{ip("192.168.67.4")}, MTU: 9000,
				Routes: []plan.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: ip("192.168.67.1")}, {To: netip.MustParsePrefix("10.0.0.0/8"), Via: ip("192.168.67.9")}},
				Domain: "example.com", Search: []string{"example.com"},
			},
			{
				Prefix: netip.MustParsePrefix("10.30.8.0/26"), Mode: plan.ModeServer, Server: ip("192.168.67.2"), IgnoreUnknown: true,
				PoolLease: 4 * time.Hour, ReservationLease: 168 * time.Hour, Router: ip("10.30.8.1"),
			},
		},
		Reservations: []plan.Reservation{
			{MAC: node, Address: ip("192.168.67.10"), Node: "bootstrap.ocp4.example.com", Hostname: "bootstrap.ocp4.example.com", Domain: "ocp4.example.com", Search: []string{"ocp4.example.com"}, Boot: bootFiles()},
			{MAC: bondNIC, Address: ip("192.168.67.10"), Node: "bootstrap.ocp4.example.com", Hostname: "bootstrap.ocp4.example.com", Boot: bootFiles()},
			{MAC: plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, Address: ip("10.30.8.10"), Node: "sno.edge.example.com", Hostname: "sno.edge.example.com"},
			{MAC: plan.MAC{0x52, 0x54, 0, 0x44, 0, 1}, Address: ip("192.168.67.20"), Hostname: "printer.example.com"},
		},
	}
}

// lab is an engine with a clock, on the link of the first network.
type lab struct {
	t      testing.TB
	e      *Engine
	now    int64
	policy *Policy
	last   Answer
}

func newLab(t testing.TB, d *plan.DHCP) *lab {
	t.Helper()
	l := &lab{t: t, e: New(nil), now: start}
	l.adopt(d)
	return l
}

func (l *lab) adopt(d *plan.DHCP) {
	l.t.Helper()
	p, err := Compile(d, []netip.Addr{ip("192.168.67.2")})
	if err != nil {
		l.t.Fatal(err)
	}
	l.policy = p
	l.e.Adopt(p, l.now)
}

func (l *lab) link() []*Subnet { return []*Subnet{l.policy.at(ip("192.168.67.1"))} }

// send gives the answer to a request, decoded by the other implementation, or nil. Records reach the disk at once.
func (l *lab) send(mac plan.MAC, t dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	l.t.Helper()
	got := l.sendUnstored(mac, t, mods...)
	if l.last.Durable {
		l.e.Stored(&l.last.Record)
	}
	return got
}

func (l *lab) sendUnstored(mac plan.MAC, t dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	l.t.Helper()
	all := append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac[:])}, mods...)
	if t != 0 {
		all = append(all, dhcpv4.WithMessageType(t))
	}
	d, err := dhcpv4.New(all...)
	if err != nil {
		l.t.Fatal(err)
	}
	var req packet.Request
	if err := req.Parse(d.ToBytes()); err != nil {
		l.t.Fatal(err)
	}
	l.e.Handle(&req, l.link(), l.now, &l.last)
	if len(l.last.Frame) == 0 {
		return nil
	}
	got, err := dhcpv4.FromBytes(l.last.Frame[packet.Headers:])
	if err != nil {
		l.t.Fatalf("answer cannot be read: %v", err)
	}
	if got.TransactionID != d.TransactionID {
		l.t.Error("answer has another transaction id")
	}
	return got
}

// lease takes a pool or reserved address as a client does and gives it.
func (l *lab) lease(mac plan.MAC, mods ...dhcpv4.Modifier) netip.Addr {
	l.t.Helper()
	offer := l.send(mac, dhcpv4.MessageTypeDiscover, mods...)
	if offer == nil {
		return netip.Addr{}
	}
	ack := l.send(mac, dhcpv4.MessageTypeRequest, append(slices.Clone(mods), requested(offer.YourIPAddr.String()), server("192.168.67.2"))...)
	if ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck {
		l.t.Fatalf("no ack for %s: %v", mac, ack)
	}
	return yiaddr(ack)
}

func (l *lab) events() (kinds []timeline.Kind) {
	for _, e := range l.last.Events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func yiaddr(d *dhcpv4.DHCPv4) netip.Addr {
	a, _ := netip.AddrFromSlice(d.YourIPAddr.To4())
	return a
}

func requested(s string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(s)))
}

func server(s string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(s)))
}
func ciaddr(s string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(s)) }
func giaddr(s string) dhcpv4.Modifier { return dhcpv4.WithRelay(net.ParseIP(s)) }

func opt(code uint8, val string) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), []byte(val))
}

type stateLease = state.Lease

func lastRequest(t testing.TB, mac plan.MAC, typ dhcpv4.MessageType, mods ...dhcpv4.Modifier) *packet.Request {
	t.Helper()
	d, err := dhcpv4.New(append(mods, dhcpv4.WithHwAddr(mac[:]), dhcpv4.WithMessageType(typ))...)
	if err != nil {
		t.Fatal(err)
	}
	req := new(packet.Request)
	if err := req.Parse(d.ToBytes()); err != nil {
		t.Fatal(err)
	}
	return req
}
