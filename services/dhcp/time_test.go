package dhcp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"helperd/plan"
)

func TestTimeServersThatAnswer(t *testing.T) {
	alive, dead := netip.MustParseAddrPort("192.0.2.2:123"), netip.MustParseAddrPort("198.51.100.2:123")
	written := []netip.Addr{netip.MustParseAddr("192.0.2.9")}
	d := &plan.DHCP{Subnets: []plan.Subnet{{Time: alive}, {Time: dead}, {NTP: written}, {}}}
	s := &Service{}
	if got := d.WithTime(s.host.TimesServed(d)); got != d {
		t.Error("without anybody who knows, somebody answers")
	}
	s.host.TimeServed = func(at netip.AddrPort) bool { return at == alive }
	var got [][]netip.Addr
	for _, n := range d.WithTime(s.host.TimesServed(d)).Subnets {
		got = append(got, n.NTP)
	}
	want := [][]netip.Addr{{alive.Addr()}, nil, written, nil}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("option 42, -want +got:\n%s", diff)
	}
	if d.Subnets[0].NTP != nil {
		t.Error("the plan was written to")
	}
}
