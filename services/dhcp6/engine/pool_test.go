package engine

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"helperd/plan"
	"helperd/state"
	"helperd/timeline"
)

func macs(n int) (out []plan.MAC) {
	for i := range n {
		out = append(out, plan.MAC{2, 0, 0, 1, byte(i >> 8), byte(i)})
	}
	return out
}

func TestPoolIsSharedAndFills(t *testing.T) {
	l := newLab(t, basic())
	seen := map[netip.Addr]bool{}
	for _, m := range macs(4) {
		a := l.lease(m)
		if !a.IsValid() || seen[a] {
			t.Fatalf("%s gets %s after %v", m, a, seen)
		}
		seen[a] = true
	}
	m := l.ask(stranger, sol, ia(1))
	if m == nil || iaStatus(m, 1) != iana.StatusNoAddrsAvail || !slices.Contains(l.events(), timeline.DHCPFailed) {
		t.Errorf("a full pool: %v, %v", m, l.last.Events)
	}
	if again := l.lease(macs(1)[0]); !seen[again] {
		t.Errorf("a client has %s now", again)
	}
	l.now += 5 * 3600 // all leases end
	if a := l.lease(stranger); !seen[a] {
		t.Errorf("after their end the pool gives %s", a)
	}
}

func TestLeaseMustBeOnDiskFirst(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	if len(l.last.Records) != 1 || l.last.Records[0].Address != a || l.last.Records[0].State != state.Bound {
		t.Fatalf("records %+v", l.last.Records)
	}
	if l.last.Acked == nil || l.last.Acked[0] != a {
		t.Errorf("acked %v", l.last.Acked)
	}
	// Firmware, loader and system ask within a minute: once is enough.
	l.now += 60
	m := l.ask(stranger, ren, ia(1, a), ours)
	if len(l.last.Records) != 0 || lifetime(m, a) != 4*time.Hour-60*time.Second {
		t.Errorf("records %v, lives %s", l.last.Records, lifetime(m, a))
	}
	l.now += 2 * 3600
	if l.ask(stranger, ren, ia(1, a), ours); len(l.last.Records) != 1 {
		t.Errorf("a renewal at T1 is not stored: %v", l.last.Records)
	}
	if l.lease(node); len(l.last.Records) != 0 {
		t.Errorf("a reservation is stored: %v", l.last.Records)
	}
}

func TestLostLeaseIsNotKept(t *testing.T) {
	l := newLab(t, basic())
	l.handle(eui64(stranger), compose(req, dhcpv6.WithClientID(duidLL(stranger)), ia(1), ours).ToBytes())
	r := l.last.Records[0]
	l.e.Lost(&r, l.now)
	if got := l.e.Leases(l.now + holdFor + 1); len(got) != 0 {
		t.Errorf("after a failed write: %+v", got)
	}
	// What was promised before counts on.
	a := l.lease(stranger)
	l.now += 2 * 3600
	l.handle(eui64(stranger), compose(ren, dhcpv6.WithClientID(duidLL(stranger)), ia(1, a), ours).ToBytes())
	l.e.Lost(&l.last.Records[0], l.now)
	if got := l.e.Leases(l.now + 3600); len(got) != 1 {
		t.Errorf("a lease of before is gone with a failed renewal: %+v", got)
	}
	if got := l.e.Leases(l.now + 2*3600 + 5); len(got) != 0 {
		t.Errorf("more than was promised: %+v", got)
	}
}

func TestRestartKeepsLeases(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	stored := append(l.e.Leases(l.now), state.Lease{Address: ip("192.168.67.100"), MAC: other, State: state.Bound, Expires: time.Unix(l.now+9999, 0)})
	l.e = New(serverID, stored)
	l.adopt(basic())
	if got := l.e.Leases(l.now); len(got) != 1 || got[0].Address != a || got[0].MAC != stranger {
		t.Errorf("after a restart: %+v", got)
	}
	if got := l.lease(other); got == a {
		t.Error("another client is given a lease that lives")
	}
	if m := l.ask(stranger, ren, ia(1, a), ours); addr(m) != a {
		t.Errorf("its client gets %s, had %s", addr(m), a)
	}
}

func TestReleaseAndDecline(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	l.ask(stranger, rel, ia(1, a), ours)
	if got := l.e.Leases(l.now); len(got) != 0 || len(l.last.Records) != 1 {
		t.Errorf("after a release: %+v, records %v", got, l.last.Records)
	}
	if b := l.lease(stranger); b != a {
		t.Errorf("its last client gets %s, had %s", b, a)
	}
	l.ask(stranger, dec, ia(1, a), ours)
	if got := l.e.Leases(l.now); len(got) != 1 || got[0].State != state.Declined || !slices.Contains(l.events(), timeline.DHCPDecline) {
		t.Errorf("after a decline: %+v, %v", got, l.last.Events)
	}
	for _, m := range append(macs(3), stranger) {
		if b := l.lease(m); b == a {
			t.Errorf("%s is given the declined address", m)
		}
	}
	l.ask(node, dec, ia(1, own), ours)
	if !slices.Contains(l.events(), timeline.DHCPDecline) || l.lease(node) != own {
		t.Errorf("a declined reservation: %v", l.last.Events)
	}
}

func TestReservedWhileLeased(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	d := basic()
	d.Reservations = append(d.Reservations, plan.Reservation{MAC: other, Address: a, Hostname: "late.example.com"})
	l.adopt(d)
	if m := l.ask(other, sol, ia(1)); iaStatus(m, 1) != iana.StatusNoAddrsAvail || !slices.Contains(l.events(), timeline.DHCPFailed) {
		t.Errorf("two machines would have %s: %v", a, l.last.Events)
	}
	if m := l.ask(stranger, ren, ia(1, a), ours); addr(m) == a || lifetime(m, a) > 0 {
		t.Errorf("its renewal: %s", m.Summary())
	}
	l.now += 5 * 3600
	if got := l.lease(other); got != a {
		t.Errorf("after the lease's end: %s", got)
	}
}

func TestFloodOfInventedClients(t *testing.T) {
	d := basic()
	d.Subnets[0].Pool = plan.Range{First: ip("fd00:67::1:0"), Last: ip("fd00:67::ffff:ffff:ffff:ffff")}
	l := newLab(t, d)
	a := l.lease(stranger)
	for i := range 3 * mostHolds {
		m := plan.MAC{2, 1, byte(i >> 16), byte(i >> 8), byte(i), 9}
		l.handle(eui64(m), compose(sol, dhcpv6.WithClientID(duidLL(m)), ia(1)).ToBytes())
	}
	if n := len(l.e.table.byAddr); n > mostHolds+1 {
		t.Errorf("%d bindings", n)
	}
	if n := len(l.e.limits.sources); n > sourceTable {
		t.Errorf("%d senders", n)
	}
	if m := l.ask(stranger, ren, ia(1, a), ours); addr(m) != a {
		t.Error("a lease gave way to offers")
	}
	if l.lease(node) != own {
		t.Error("a node gets no address")
	}
}

func TestOneSenderIsLimited(t *testing.T) {
	l := newLab(t, basic())
	answered := 0
	for range 1000 {
		if l.ask(node, sol, ia(1)) != nil {
			answered++
		}
	}
	if answered != sourceBurst || l.e.Counts().Limited != 1000-sourceBurst {
		t.Errorf("%d of 1000 in one second, %+v", answered, l.e.Counts())
	}
	if l.ask(bondNIC, sol, ia(1)) == nil {
		t.Error("another sender is not answered")
	}
	l.now += 2
	if l.ask(node, sol, ia(1)) == nil {
		t.Error("not answered two seconds later")
	}
}

func TestClockIsSet(t *testing.T) {
	l := newLab(t, basic())
	l.lease(stranger)
	const by = 50 * 365 * 86400
	if records := l.e.Stepped(by, l.now+by); len(records) != 1 {
		t.Errorf("records %v", records)
	}
	if l.now += by; len(l.e.Leases(l.now)) != 1 {
		t.Error("a lease ends with the clock")
	}
}

// guess stays in the pool, whatever its size.
func TestGuess(t *testing.T) {
	for _, r := range []plan.Range{
		{First: ip("fd00::5"), Last: ip("fd00::5")},
		{First: ip("fd00::5"), Last: ip("fd00::1:5")},
		{First: ip("fd00::ffff:ffff:ffff:fff0"), Last: ip("fd00:0:0:1::10")},
		{First: ip("fd00::"), Last: ip("fd00::ffff:ffff:ffff:ffff")},
	} {
		p := newPool(&Subnet{Subnet: plan.Subnet{Pool: r}})
		for i := range uint64(100) {
			if a := p.guess("client", i*i); !r.Contains(a) {
				t.Errorf("%s is outside of %s", a, r)
			}
		}
	}
}

func TestForeignServerIsTold(t *testing.T) {
	l := newLab(t, basic())
	l.ask(stranger, req, ia(1), theirs)
	if !slices.Equal(l.events(), []timeline.Kind{timeline.DHCPForeign}) {
		t.Errorf("events %v", l.last.Events)
	}
}

func TestCheck(t *testing.T) {
	l := newLab(t, basic())
	before := l.e.Counts()
	for range 3 * sourceBurst { // however often it is asked
		if err := l.e.Check(l.now); err != nil {
			t.Fatal(err)
		}
	}
	if l.e.Counts() != before {
		t.Errorf("counts %+v", l.e.Counts())
	}
}
