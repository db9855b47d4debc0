package engine

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services/dhcp/packet"
	"helperd/timeline"
)

// squatter has an address of the pool without a lease.
var squatter = plan.MAC{2, 0xbb, 0, 0, 0, 1}

// probing is a lab whose engine wants probes.
func probing(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, basic())
	l.e.ProbeConflicts()
	return l
}

// checked tells the engine the outcome of a probe.
func (l *lab) checked(addr netip.Addr, has plan.MAC) {
	l.e.Checked(Probed{Addr: addr, Sent: true, MAC: has}, l.now, &l.last)
}

// resume gives the DISCOVER of mac to the engine again.
func (l *lab) resume(mac plan.MAC) {
	l.t.Helper()
	var req packet.Request
	if err := req.Parse(packet.NewDiscover(mac, 1)); err != nil {
		l.t.Fatal(err)
	}
	l.e.Resume(&req, l.link(), l.now, &l.last)
}

func TestOfferWaitsForProbe(t *testing.T) {
	l := probing(t)
	for range 2 { // a client that asks again does not cause a second probe of another address
		if l.send(stranger, dhcpv4.MessageTypeDiscover); len(l.last.Frame) > 0 || l.last.Check != ip("192.168.67.100") {
			t.Fatalf("an offer before the probe of %s", l.last.Check)
		}
	}
	if l.send(node, dhcpv4.MessageTypeDiscover); len(l.last.Frame) == 0 {
		t.Error("a reservation waits for a probe")
	}
	l.checked(ip("192.168.67.100"), plan.MAC{})
	received := l.e.Counts().Received
	if l.resume(stranger); len(l.last.Frame) == 0 || l.last.Check.IsValid() {
		t.Error("no offer after the probe")
	}
	if l.e.Counts().Received != received {
		t.Error("a request was counted twice")
	}
	// What a probe said is good for some minutes, and for whoever gets the address.
	l.now += clearFor - 1
	if l.send(stranger, dhcpv4.MessageTypeDiscover); l.last.Check.IsValid() {
		t.Error("probed again within five minutes")
	}
	l.now++
	if l.send(stranger, dhcpv4.MessageTypeDiscover); !l.last.Check.IsValid() {
		t.Error("not probed again after five minutes")
	}
}

func TestNoProbe(t *testing.T) {
	t.Run("of a client's own lease", func(t *testing.T) {
		l := newLab(t, basic())
		l.lease(stranger)
		l.e.ProbeConflicts()
		if l.send(stranger, dhcpv4.MessageTypeDiscover); l.last.Check.IsValid() || len(l.last.Frame) == 0 {
			t.Error("a client waits for a probe of what it has")
		}
	})
	t.Run("behind a relay", func(t *testing.T) {
		d := basic()
		d.Subnets[1].Pool, d.Subnets[1].IgnoreUnknown = plan.Range{First: ip("10.30.8.20"), Last: ip("10.30.8.30")}, false
		l := newLab(t, d)
		l.e.ProbeConflicts()
		l.send(stranger, dhcpv4.MessageTypeDiscover, dhcpv4.WithRelay([]byte{10, 30, 8, 1}))
		if l.last.Check.IsValid() || len(l.last.Frame) == 0 {
			t.Error("an address that cannot be probed is waited for")
		}
	})
	t.Run("when more ask than can be probed", func(t *testing.T) {
		l := newLab(t, large())
		l.e.ProbeConflicts()
		waits, offers := 0, 0
		for i := range 800 {
			switch l.send(plan.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}, dhcpv4.MessageTypeDiscover); {
			case l.last.Check.IsValid():
				waits++
			case len(l.last.Frame) > 0:
				offers++
			}
		}
		if waits != mostWaits || offers != 800-mostWaits || l.e.Counts().Unprobed != uint64(offers) {
			t.Errorf("%d wait, %d offers, %d unprobed", waits, offers, l.e.Counts().Unprobed)
		}
	})
}

// large is a pool of a thousand addresses.
func large() *plan.DHCP {
	d := basic()
	d.Subnets = d.Subnets[:1]
	d.Reservations = nil
	n := &d.Subnets[0]
	n.Prefix, n.Server = netip.MustParsePrefix("192.168.0.0/16"), ip("192.168.67.2")
	n.Pool = plan.Range{First: ip("192.168.1.0"), Last: ip("192.168.4.255")}
	return d
}

func TestConflict(t *testing.T) {
	l := probing(t)
	l.send(stranger, dhcpv4.MessageTypeDiscover)
	l.checked(ip("192.168.67.100"), squatter)
	if !l.last.Durable || l.last.Record.Address != ip("192.168.67.100") {
		t.Errorf("the quarantine is not stored: %+v", l.last.Record)
	}
	if ev := l.last.Events; len(ev) != 1 || ev[0].Kind != timeline.DHCPConflict || ev[0].MAC != squatter {
		t.Errorf("events %+v", ev)
	}
	if len(l.e.Problems(l.now)) != 1 {
		t.Errorf("problems %q", l.e.Problems(l.now))
	}
	if l.resume(stranger); l.last.Check != ip("192.168.67.101") {
		t.Errorf("next the client waits for %s", l.last.Check)
	}
	// The client itself may still use the address that it had.
	l.checked(ip("192.168.67.101"), stranger)
	if l.resume(stranger); len(l.last.Frame) == 0 {
		t.Error("a client is in its own way")
	}
	l.now += 1e8 // the clock is set
	l.e.Stepped(1e8, l.now)
	if len(l.e.Problems(l.now)) != 1 {
		t.Errorf("problems %q after the clock was set", l.e.Problems(l.now))
	}
	l.now += quarantine
	if len(l.e.Problems(l.now)) != 0 {
		t.Errorf("problems %q an hour later", l.e.Problems(l.now))
	}
}

// A probe that could not leave says nothing for long, and holds no offer up.
func TestProbeThatCannotLeave(t *testing.T) {
	l := probing(t)
	l.send(stranger, dhcpv4.MessageTypeDiscover)
	l.e.Checked(Probed{Addr: ip("192.168.67.100")}, l.now, &l.last)
	if l.resume(stranger); len(l.last.Frame) == 0 {
		t.Error("no offer")
	}
	l.now += clearUnsent
	if l.send(stranger, dhcpv4.MessageTypeDiscover); !l.last.Check.IsValid() {
		t.Error("the address counts as probed")
	}
}

func TestStock(t *testing.T) {
	l := probing(t)
	ahead := func() []netip.Addr { return l.e.Ahead(l.link(), l.now, nil) }
	list := ahead()
	if len(list) != 5 || list[0] != ip("192.168.67.100") || len(ahead()) != 0 {
		t.Fatalf("probed ahead: %s, then %s", list, ahead())
	}
	for _, a := range list {
		l.checked(a, plan.MAC{})
	}
	for i, want := range list[:3] {
		if l.send(plan.MAC{2, 9, 0, 0, 0, byte(i)}, dhcpv4.MessageTypeDiscover); len(l.last.Frame) == 0 || l.lastAddr() != want {
			t.Errorf("offer %d is of %s, want %s without waiting", i, l.lastAddr(), want)
		}
	}
	l.now += holdFor // the offers were not taken: the addresses go back, and need no probe
	if list := ahead(); len(list) != 0 {
		t.Errorf("probed again after a minute: %s", list)
	}
	l.now += clearFor - clearMargin
	if list := ahead(); len(list) != 5 {
		t.Errorf("probed again after five minutes: %s", list)
	}
	if got := l.e.Leases(l.now); len(got) != 0 {
		t.Errorf("leases %+v", got)
	}
}

// lastAddr is the address in the last answer.
func (l *lab) lastAddr() netip.Addr {
	l.t.Helper()
	var got packet.Request
	if err := got.ParseReply(l.last.Frame[packet.Headers:]); err != nil {
		l.t.Fatal(err)
	}
	return got.Your
}

// When the stock is used up it is a storm, and nobody waits.
func TestStormDoesNotWait(t *testing.T) {
	l := newLab(t, large())
	l.e.ProbeConflicts()
	for _, a := range l.e.Ahead(l.link(), l.now, nil) {
		l.checked(a, plan.MAC{})
	}
	for i := range 800 {
		l.send(plan.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}, dhcpv4.MessageTypeDiscover)
		if l.last.Check.IsValid() || len(l.last.Frame) == 0 {
			t.Fatalf("client %d waits", i)
		}
	}
	if got := l.e.Counts().Unprobed; got != 800-stockSize {
		t.Errorf("%d unprobed", got)
	}
	l.now += 2
	if l.send(other, dhcpv4.MessageTypeDiscover, requested("192.168.4.99")); !l.last.Check.IsValid() {
		t.Error("no probe after the storm")
	}
}

// A router that answers for every address must not take the pool away.
func TestProxyARP(t *testing.T) {
	l := newLab(t, large())
	l.e.ProbeConflicts()
	for range 4 {
		for _, a := range l.e.Ahead(l.link(), l.now, nil) {
			l.checked(a, squatter)
		}
		l.now++
	}
	if got := l.e.Counts().Conflicts; got != mostOfOne {
		t.Errorf("%d addresses are in quarantine", got)
	}
	if p := l.e.Problems(l.now); len(p) != 2 || !slices.ContainsFunc(p, func(s string) bool { return len(s) > 0 && s[:3] == "MAC" }) {
		t.Errorf("problems %q", p)
	}
}
