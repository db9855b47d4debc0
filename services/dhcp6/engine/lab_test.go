package engine

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"helperd/plan"
	"helperd/timeline"
)

const start = int64(1_800_000_000)

var (
	node     = plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x67}
	bondNIC  = plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x68}
	far      = plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}
	stranger = plan.MAC{0x02, 0, 0, 0, 0, 1}
	other    = plan.MAC{0x02, 0, 0, 0, 0, 2}
	serverID = &dhcpv6.DUIDUUID{UUID: [16]byte{1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16}}
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// basic is one network with a pool of four addresses, and a second one behind a relay without a pool.
func basic() *plan.DHCP {
	boot := &plan.BootFiles{
		Script: "http://[fd00:67::2]:8080/boot/52-54-00-60-72-67.ipxe",
		TFTP:   map[uint16]string{plan.ArchEFI64: "tftp://[fd00:67::2]/snponly.efi"},
		HTTP:   map[uint16]string{plan.ArchHTTP64: "http://[fd00:67::2]:8080/boot/snponly.efi"},
	}
	return &plan.DHCP{
		Enabled: true,
		Subnets: []plan.Subnet{
			{
				Prefix: netip.MustParsePrefix("fd00:67::/64"), Mode: plan.ModeServer, Server: ip("fd00:67::2"),
				Pool: plan.Range{First: ip("fd00:67::100"), Last: ip("fd00:67::103")}, PoolLease: 4 * time.Hour, ReservationLease: 168 * time.Hour,
				DNS: []netip.Addr{ip("fd00:67::2"), ip("fd00:67::3")}, NTP: []netip.Addr{ip("fd00:67::4")}, Search: []string{"example.com"},
			},
			{
				Prefix: netip.MustParsePrefix("fd00:30::/64"), Mode: plan.ModeServer, Server: ip("fd00:67::2"), IgnoreUnknown: true,
				PoolLease: 4 * time.Hour, ReservationLease: 168 * time.Hour,
			},
		},
		Reservations: []plan.Reservation{
			{MAC: node, Address: ip("fd00:67::10"), Node: "bootstrap.ocp4.example.com", Hostname: "bootstrap.ocp4.example.com", Search: []string{"ocp4.example.com"}, Boot: boot},
			{MAC: bondNIC, Address: ip("fd00:67::10"), Node: "bootstrap.ocp4.example.com", Hostname: "bootstrap.ocp4.example.com", Search: []string{"ocp4.example.com"}, Boot: boot},
			{MAC: far, Address: ip("fd00:30::10"), Node: "sno.edge.example.com", Hostname: "sno.edge.example.com"},
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
	port   uint16 // that messages come from
	// What the kernel's neighbour table has for everybody.
	neighbour plan.MAC
	unicast   bool
}

func newLab(t testing.TB, d *plan.DHCP) *lab {
	t.Helper()
	l := &lab{t: t, e: New(serverID, nil), now: start, port: dhcpv6.DefaultClientPort}
	l.adopt(d)
	return l
}

func (l *lab) adopt(d *plan.DHCP) {
	l.t.Helper()
	p, err := Compile(d, []netip.Addr{ip("fd00:67::2")})
	if err != nil {
		l.t.Fatal(err)
	}
	l.policy = p
	l.e.Adopt(p, l.now)
}

func (l *lab) link() []*Subnet { return []*Subnet{l.policy.at(ip("fd00:67::1"))} }

// handle gives the engine bytes as the service does.
func (l *lab) handle(from netip.Addr, b []byte) []byte {
	l.t.Helper()
	req := &Request{Data: b, From: netip.AddrPortFrom(from, l.port), Multicast: !l.unicast, Link: l.link()}
	l.last = l.e.Handle(req, l.now)
	if l.last.WhoIs {
		req.Asked, req.Neighbour = true, l.neighbour
		l.last = l.e.Handle(req, l.now)
	}
	return l.last.Message
}

// send gives the answer to a message of the machine at a link-local address, or nil. Records reach the disk at once.
func (l *lab) send(from netip.Addr, m *dhcpv6.Message) *dhcpv6.Message {
	l.t.Helper()
	b := l.handle(from, m.ToBytes())
	for i := range l.last.Records {
		l.e.Stored(&l.last.Records[i])
	}
	if len(b) == 0 {
		return nil
	}
	got, err := read(b)
	if err != nil {
		l.t.Fatalf("answer cannot be read: %v", err)
	}
	if got.TransactionID != m.TransactionID {
		l.t.Error("answer has another transaction id")
	}
	return got
}

// read gives the message to the client. Its DUID comes back as it was sent, be it one
// that the library does not know how to read.
func read(b []byte) (*dhcpv6.Message, error) {
	for dhcpv6.MessageType(b[0]) == dhcpv6.MessageTypeRelayReply {
		var o dhcpv6.Options
		if err := o.FromBytesWithParser(b[relayHeader:], asBytes); err != nil {
			return nil, err
		}
		b = o.GetOne(dhcpv6.OptionRelayMsg).ToBytes()
	}
	m := &dhcpv6.Message{MessageType: dhcpv6.MessageType(b[0]), TransactionID: dhcpv6.TransactionID(b[1:4])}
	return m, m.Options.FromBytesWithParser(b[4:], func(code dhcpv6.OptionCode, b []byte) (dhcpv6.Option, error) {
		if code == dhcpv6.OptionClientID {
			return lenient(code, b)
		}
		return dhcpv6.ParseOption(code, b)
	})
}

// ask sends a message of the kind from a machine with a DUID-LL and an EUI-64 address.
func (l *lab) ask(mac plan.MAC, kind dhcpv6.MessageType, mods ...dhcpv6.Modifier) *dhcpv6.Message {
	l.t.Helper()
	return l.send(eui64(mac), compose(kind, append([]dhcpv6.Modifier{dhcpv6.WithClientID(duidLL(mac))}, mods...)...))
}

// lease takes an address as a client does, and gives it.
func (l *lab) lease(mac plan.MAC, mods ...dhcpv6.Modifier) netip.Addr {
	l.t.Helper()
	adv := l.ask(mac, dhcpv6.MessageTypeSolicit, append(mods, ia(1))...)
	if adv == nil || !addr(adv).IsValid() {
		return netip.Addr{}
	}
	rep := l.ask(mac, dhcpv6.MessageTypeRequest, append(mods, ia(1, addr(adv)), ours)...)
	if rep == nil {
		l.t.Fatalf("no reply for %s", mac)
	}
	return addr(rep)
}

func (l *lab) events() (kinds []timeline.Kind) {
	for _, e := range l.last.Events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func compose(kind dhcpv6.MessageType, mods ...dhcpv6.Modifier) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: dhcpv6.TransactionID{1, 2, 3}}
	for _, mod := range mods {
		mod(m)
	}
	return m
}

// eui64 is the link-local address that mac makes.
func eui64(mac plan.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}

func duidLL(mac plan.MAC) dhcpv6.DUID {
	return &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr(mac[:])}
}

var uuid = &dhcpv6.DUIDUUID{UUID: [16]byte{9, 9, 9}}

// ia is an IA_NA with addresses in it.
func ia(id byte, addrs ...netip.Addr) dhcpv6.Modifier {
	o := identity([4]byte{0, 0, 0, id})
	for _, a := range addrs {
		o.Options.Add(leased(a, time.Hour))
	}
	return func(m dhcpv6.DHCPv6) { m.AddOption(o) }
}

func opt(code dhcpv6.OptionCode, b ...byte) dhcpv6.Modifier {
	return func(m dhcpv6.DHCPv6) { m.AddOption(&dhcpv6.OptionGeneric{OptionCode: code, OptionData: b}) }
}

var (
	ours   = dhcpv6.WithServerID(serverID)
	theirs = dhcpv6.WithServerID(uuid)
	rapid  = opt(dhcpv6.OptionRapidCommit)
	pxe    = dhcpv6.WithArchType(iana.Arch(plan.ArchEFI64))
)

// addr is the address of the first IA that has one.
func addr(m *dhcpv6.Message) netip.Addr {
	for _, ia := range m.Options.IANA() {
		if o := ia.Options.OneAddress(); o != nil && o.ValidLifetime > 0 {
			a, _ := netip.AddrFromSlice(o.IPv6Addr)
			return a
		}
	}
	return netip.Addr{}
}

// iaStatus is the status of the IA with that id.
func iaStatus(m *dhcpv6.Message, id byte) iana.StatusCode {
	for _, ia := range m.Options.IANA() {
		if ia.IaId[3] == id {
			if s := ia.Options.Status(); s != nil {
				return s.StatusCode
			}
		}
	}
	return iana.StatusSuccess
}

func topStatus(m *dhcpv6.Message) iana.StatusCode {
	if s := m.Options.Status(); s != nil {
		return s.StatusCode
	}
	return 0xffff
}

// lifetime is the valid lifetime of a in the first IA that has it; -1: none has.
func lifetime(m *dhcpv6.Message, a netip.Addr) time.Duration {
	for _, ia := range m.Options.IANA() {
		for _, o := range ia.Options.Addresses() {
			if got, _ := netip.AddrFromSlice(o.IPv6Addr); got == a {
				return o.ValidLifetime
			}
		}
	}
	return -1
}
