package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/plan"
	"helperd/services/leasing"
)

func TestUses(t *testing.T) {
	d := basic()
	d.Reservations = append(d.Reservations, plan.Reservation{MAC: plan.MAC{2, 6}, Address: ip("fd00:67::103")}) // in the pool
	l := newLab(t, d)
	l.lease(stranger)
	gone := l.lease(other)
	l.ask(other, dec, ia(1, gone), ours)
	l.ask(plan.MAC{2, 7, 0, 0, 0, 1}, dhcpv6.MessageTypeSolicit, ia(1))
	want := []leasing.Use{{Size: 3, Leased: 1, Declined: 1, Offered: 1, Reserved: 2}, {Reserved: 1}}
	if d := cmp.Diff(want, l.e.Uses(l.now), cmpopts.IgnoreFields(leasing.Use{}, "Network", "Pool")); d != "" {
		t.Error(d)
	}
}

func TestFree(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	if r, ok := l.e.Free(a, l.now); !ok || r.Expires.Unix() > l.now || len(l.e.Leases(l.now)) != 0 {
		t.Fatalf("record %+v, %v, leases %v", r, ok, l.e.Leases(l.now))
	}
	if _, again := l.e.Free(a, l.now); again {
		t.Error("what is free was freed")
	}
	if got := addr(l.ask(other, dhcpv6.MessageTypeSolicit, ia(1, a))); got != a {
		t.Errorf("another machine that wants %s is offered %s", a, got)
	}
	for _, a := range []string{"fd00:67::10", "fd00:67::103", "fd01::1"} { // reserved, never used, of no network
		if _, ok := l.e.Free(ip(a), l.now); ok {
			t.Errorf("%s was freed", a)
		}
	}
}

// Why machines are refused is counted.
func TestReasons(t *testing.T) {
	l := newLab(t, basic())
	l.ask(stranger, dhcpv6.MessageTypeSolicit, ia(1), opt(dhcpv6.OptionClientArchType, 0, 7))
	c := l.e.Counts()
	if got := c.ByReason(); got[refusedBoot] != 1 || len(got) != len(reasons) {
		t.Errorf("%v", got)
	}
}
