package engine

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/timeline"
)

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
	l.send(stranger, dhcpv4.MessageTypeRelease, ciaddr(a.String()), server("192.168.67.77"))
	if len(l.e.Leases(l.now)) != 1 {
		t.Error("a release to another server took the lease")
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
	if !l.last.Acked.IsValid() || l.last.Client != stranger {
		t.Errorf("a stranger with an address of the pool: acked %s to %s", l.last.Acked, l.last.Client)
	}
	if err := l.e.Check(l.now); err != nil {
		t.Error(err)
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

// One client has one address at a time: asking for one after the other must not use the pool up.
func TestOneClientOneLease(t *testing.T) {
	l := newLab(t, basic())
	first := l.lease(stranger)
	for _, a := range []string{"192.168.67.101", "192.168.67.102", "192.168.67.103", "192.168.67.104"} {
		if got := l.send(stranger, dhcpv4.MessageTypeRequest, server("192.168.67.2"), requested(a)); got == nil || got.MessageType() != dhcpv4.MessageTypeNak {
			t.Errorf("a client that has %s was also given %s: %v", first, a, got)
		}
	}
	if leases := l.e.Leases(l.now); len(leases) != 1 {
		t.Errorf("leases %+v", leases)
	}
}

// Only an address that was acknowledged can be found in use (RFC 2131 section 4.4.1).
func TestOfferCannotBeDeclined(t *testing.T) {
	l := newLab(t, basic())
	offer := yiaddr(l.send(stranger, dhcpv4.MessageTypeDiscover))
	l.send(stranger, dhcpv4.MessageTypeDecline, requested(offer.String()), server("192.168.67.2"))
	if l.last.Durable || len(l.e.Leases(l.now)) != 0 {
		t.Errorf("an offer was put into quarantine: %+v", l.last.Record)
	}
}

// Two networks share a link: an address of the second one is not of a wrong network.
func TestSharedLink(t *testing.T) {
	d := basic()
	d.Subnets = append(d.Subnets, plan.Subnet{
		Prefix: netip.MustParsePrefix("10.67.0.0/24"), Mode: plan.ModeServer, Server: ip("192.168.67.2"), PoolLease: time.Hour, ReservationLease: time.Hour,
		Pool: plan.Range{First: ip("10.67.0.100"), Last: ip("10.67.0.104")},
	})
	l := newLab(t, d)
	both := []*Subnet{l.policy.at(ip("192.168.67.1")), l.policy.at(ip("10.67.0.1"))}
	l.e.Handle(lastRequest(t, stranger, dhcpv4.MessageTypeRequest, requested("10.67.0.104")), both, l.now, &l.last)
	if len(l.last.Frame) > 0 {
		t.Errorf("answered %v to a client that may be right", l.events())
	}
	leased := l.lease(stranger, giaddr("10.67.0.250"))
	l.now++
	l.e.Handle(lastRequest(t, stranger, dhcpv4.MessageTypeRequest, requested(leased.String())), both, l.now, &l.last)
	if len(l.last.Frame) == 0 || l.events()[0] != timeline.DHCPAck {
		t.Errorf("INIT-REBOOT with the address that it has, %s: %v", leased, l.events())
	}
}
