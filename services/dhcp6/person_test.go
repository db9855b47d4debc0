package dhcp6

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/plan"
	"helperd/services/dhcp6/engine"
	"helperd/services/leasing"
	"helperd/state"
	"helperd/timeline"
)

// A person's release is on disk when it is said to be done.
func TestRelease(t *testing.T) {
	s, a := pooled(t)
	s.store([]*answer{a})
	addr := s.Leases()[0].Address
	s.host.Guard.Loop(t.Context(), "commit", s.commit)
	if err := s.Release(t.Context(), netip.MustParseAddr("10.9.9.9")); !errors.Is(err, leasing.ErrNoLease) {
		t.Errorf("of an address that nobody has: %v", err)
	}
	if err := s.Release(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	stored, err := s.host.Leases.Leases()
	if err != nil || len(stored) != 1 || time.Now().Before(stored[0].Expires) {
		t.Errorf("the disk has %+v, %v", stored, err)
	}
	if l := s.Leases(); len(l) != 0 {
		t.Errorf("leases %+v", l)
	}
	if e := s.host.Events.Since(0); e[len(e)-1].Kind != timeline.DHCPReleased || e[len(e)-1].Addr != addr {
		t.Errorf("events %+v", e)
	}
	if err := s.Release(t.Context(), addr); !errors.Is(err, leasing.ErrNoLease) {
		t.Errorf("again: %v", err)
	}
}

// A person is not told that it is done when it is not on disk.
func TestReleaseWhileTheDiskFails(t *testing.T) {
	s, a := pooled(t)
	s.store([]*answer{a})
	bad, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Close(); err != nil {
		t.Fatal(err)
	}
	good := s.host.Leases
	s.host.Leases = bad
	s.host.Guard.Loop(t.Context(), "commit", s.commit)
	if err := s.Release(t.Context(), a.Records[0].Address); err == nil || !strings.Contains(err.Error(), "starts again before it is, the lease is back") {
		t.Errorf("error %v", err)
	}
	if stored, err := good.Leases(); err != nil || len(stored) != 1 || time.Now().After(stored[0].Expires) {
		t.Errorf("the disk has %+v, %v", stored, err)
	}
}

// A pool that fills is told of once, shown in the status, and counted.
func TestPoolFills(t *testing.T) {
	s, a := pooled(t)
	s.store([]*answer{a})
	s.watchPools()
	if n := s.Status().Notes; len(n) != 0 {
		t.Errorf("notes %q", n)
	}
	small := s.generation.Load().policy.Subnets()
	for _, n := range small {
		if n.Pool.IsValid() {
			n.Pool.Last = n.Pool.First.Next().Next() // three addresses; the one that is leased is outside
		}
	}
	s.engine.Adopt(s.generation.Load().policy, s.unix())
	for i := range 3 {
		grant(t, s, plan.MAC{2, 0, 0, 0, 9, byte(i)})
	}
	s.watchPools()
	s.watchPools()
	told := 0
	for _, e := range s.host.Events.Since(0) {
		if e.Kind == timeline.DHCPPool && strings.Contains(e.Detail, "100 % full") && e.Trouble() {
			told++
		}
	}
	if n := s.Status().Notes; told != 1 || len(n) != 1 {
		t.Errorf("told %d times, notes %q", told, n)
	}
	u := s.totals()
	if u.Uses[0].Leased != 3 || u.Uses[0].Free() != 0 {
		t.Errorf("uses %+v", u.Uses)
	}
}

// grant leases an address to a machine.
func grant(t *testing.T, s *Service, mac plan.MAC) {
	t.Helper()
	m, err := dhcpv6.NewSolicit(mac[:], dhcpv6.WithRapidCommit)
	if err != nil {
		t.Fatal(err)
	}
	req := &engine.Request{Data: m.ToBytes(), From: netip.MustParseAddrPort("[fe80::ff:fe00:1]:546"), Multicast: true, Link: s.engine.Policy().Subnets()[:1], Neighbour: mac, Asked: true}
	if a := s.engine.Handle(req, s.unix()); len(a.Records) != 1 {
		t.Fatalf("no lease for %s: %+v", mac, a)
	}
}
