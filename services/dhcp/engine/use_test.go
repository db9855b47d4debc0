package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services/leasing"
)

func TestUses(t *testing.T) {
	d := basic()
	d.Reservations = append(d.Reservations, plan.Reservation{MAC: plan.MAC{2, 6}, Address: ip("192.168.67.104")}) // in the pool
	l := newLab(t, d)
	l.lease(stranger)
	gone := l.lease(other)
	l.send(other, dhcpv4.MessageTypeDecline, requested(gone.String()), server("192.168.67.2"))
	l.send(plan.MAC{2, 7, 0, 0, 0, 1}, dhcpv4.MessageTypeDiscover)
	got := map[string]leasing.Use{}
	for _, u := range l.e.Uses(l.now) {
		got[u.Network.String()] = leasing.Use{Size: u.Size, Leased: u.Leased, Declined: u.Declined, Offered: u.Offered, Reserved: u.Reserved}
	}
	want := map[string]leasing.Use{
		"192.168.67.0/24": {Size: 4, Leased: 1, Declined: 1, Offered: 1, Reserved: 3},
		"10.30.8.0/26":    {Reserved: 1},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(leasing.Use{}, "Network", "Pool")); d != "" {
		t.Error(d)
	}
	l.now += 5 * 3600
	for _, u := range l.e.Uses(l.now) {
		if u.Leased+u.Declined+u.Offered != 0 {
			t.Errorf("after all of it: %+v", u)
		}
	}
}

func TestFree(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	r, ok := l.e.Free(a, l.now)
	if !ok || r.Expires.Unix() > l.now || len(l.e.Leases(l.now)) != 0 {
		t.Fatalf("record %+v, %v, leases %v", r, ok, l.e.Leases(l.now))
	}
	if _, again := l.e.Free(a, l.now); again {
		t.Error("what is free was freed")
	}
	if got := l.send(other, dhcpv4.MessageTypeDiscover, requested(a.String())); got == nil || yiaddr(got) != a {
		t.Errorf("another machine that wants %s is offered %v", a, got)
	}
	// Its machine still has it, and is told when it asks for more time.
	if got := l.send(stranger, dhcpv4.MessageTypeRequest, ciaddr(a.String())); got != nil && got.MessageType() == dhcpv4.MessageTypeAck {
		t.Error("two machines have one address")
	}

	b := l.lease(bondless)
	l.send(bondless, dhcpv4.MessageTypeDecline, requested(b.String()), server("192.168.67.2"))
	if r, ok := l.e.Free(b, l.now); !ok || r.Expires.Unix() > l.now {
		t.Errorf("a declined address is not freed: %+v", r)
	}
	for _, a := range []string{"192.168.67.10", "192.168.67.104", "10.9.9.9"} { // reserved, never used, of no network
		if _, ok := l.e.Free(ip(a), l.now); ok {
			t.Errorf("%s was freed", a)
		}
	}
}

var bondless = plan.MAC{2, 5, 0, 0, 0, 1}

// Why machines are refused is counted.
func TestReasons(t *testing.T) {
	l := newLab(t, basic())
	l.send(stranger, dhcpv4.MessageTypeDiscover, opt(60, "PXEClient"))
	l.send(stranger, dhcpv4.MessageTypeDiscover, opt(93, "\x00\x07"))
	c := l.e.Counts()
	if got := c.ByReason(); got[refusedBoot] != 2 || got[refusedUnknown] != 0 || len(got) != len(reasons) {
		t.Errorf("%v", got)
	}
	c.Reasons.Add(reasons, "what nobody knows")
	if c.ByReason()["other"] != 1 {
		t.Errorf("%v", c.ByReason())
	}
}
