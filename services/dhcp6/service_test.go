package dhcp6

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/internal/netif"
	"helperd/plan"
	"helperd/services"
	"helperd/services/dhcp6/engine"
	"helperd/services/servicetest"
	"helperd/state"
	"helperd/timeline"
)

func scenario() *plan.Plan {
	ip := netip.MustParseAddr
	return &plan.Plan{DHCP6: plan.DHCP{
		Enabled: true,
		Subnets: []plan.Subnet{
			{
				Prefix: netip.MustParsePrefix("fd00:67::/64"), Mode: plan.ModeServer, Server: ip("fd00:67::2"),
				Pool: plan.Range{First: ip("fd00:67::100"), Last: ip("fd00:67::1ff")}, PoolLease: time.Hour, ReservationLease: time.Hour,
			},
			{Prefix: netip.MustParsePrefix("fd00:30::/64"), Mode: plan.ModeServer, Server: ip("fd00:67::2"), IgnoreUnknown: true, ReservationLease: time.Hour},
			{Prefix: netip.MustParsePrefix("fd00:31::/64"), Mode: plan.ModeServer, Interface: "eth7", IgnoreUnknown: true, ReservationLease: time.Hour},
		},
		Reservations: []plan.Reservation{{MAC: plan.MAC{2, 0, 0, 0, 0, 9}, Address: ip("fd00:30::9")}},
	}}
}

func TestServerIDIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := serverID(dir)
	if err != nil || first.DUIDType() != dhcpv6.DUID_UUID {
		t.Fatal(first, err)
	}
	if again, err := serverID(dir); err != nil || !bytes.Equal(again.ToBytes(), first.ToBytes()) {
		t.Errorf("%v, then %v, %v", first, again, err)
	}
	if other, err := serverID(t.TempDir()); err != nil || bytes.Equal(other.ToBytes(), first.ToBytes()) {
		t.Errorf("two servers are %v, %v", other, err)
	}
	if err := os.WriteFile(filepath.Join(dir, duidFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := serverID(dir); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("error %v", err)
	}
}

func TestResolve(t *testing.T) {
	policy, err := engine.Compile(&scenario().DHCP6, nil)
	if err != nil {
		t.Fatal(err)
	}
	on := func(name string, index int, addrs ...string) netif.Interface {
		i := netif.Interface{Name: name, Index: index, Addrs: []netip.Addr{netip.MustParseAddr("fe80::1")}}
		for _, a := range addrs {
			i.Addrs = append(i.Addrs, netip.MustParseAddr(a))
		}
		return i
	}
	tests := []struct {
		name    string
		have    []netif.Interface
		want    []string
		missing []string
	}{
		{"all on one", []netif.Interface{on("eth7", 2, "fd00:67::2")}, []string{"eth7: 2"}, nil},
		{"an interface for each", []netif.Interface{on("eth0", 2, "fd00:67::2"), on("eth7", 3), on("eth1", 4, "fd00:30::2")}, []string{"eth0: 1", "eth1: 1", "eth7: 1"}, nil},
		{"behind relays", []netif.Interface{on("eth0", 2, "fd00:67::2")}, []string{"eth0: 1"}, []string{"interface eth7 of network fd00:31::/64 is not there"}},
		{"nothing", nil, nil, []string{"and none has fd00:67::2", "and none has fd00:67::2", "interface eth7"}},
		{"nobody can be spoken to", []netif.Interface{on("eth0", 2, "fd00:67::2"), {Name: "eth7", Index: 3}}, []string{"eth0: 1", "eth7: 1"}, []string{"interface eth7 has no link; plug its cable in"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			places, missing := resolve(policy, tt.have)
			var got []string
			for _, p := range places {
				got = append(got, p.device+": "+string(rune('0'+len(p.subnets))))
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.want) || len(missing) != len(tt.missing) {
				t.Fatalf("served %q, missing %q", got, missing)
			}
			for i := range missing {
				if !strings.Contains(missing[i], tt.missing[i]) {
					t.Errorf("missing %q, want %q", missing[i], tt.missing[i])
				}
			}
		})
	}
}

// pooled gives a service without sockets and the answer to a stranger's Request.
func pooled(t *testing.T) (*Service, *answer) {
	t.Helper()
	s := New(servicetest.NewHost(t, t.TempDir()).Host)
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	policy, err := engine.Compile(&scenario().DHCP6, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.engine.Adopt(policy, s.unix())
	p := &port{device: "eth0"}
	s.generation.Store(&generation{enabled: true, policy: policy, links: map[*port][]*engine.Subnet{}})
	m, err := dhcpv6.NewSolicit([]byte{2, 0, 0, 0, 0, 1}, dhcpv6.WithRapidCommit)
	if err != nil {
		t.Fatal(err)
	}
	a := &answer{port: p}
	req := &engine.Request{Data: m.ToBytes(), From: netip.MustParseAddrPort("[fe80::ff:fe00:1]:546"), Multicast: true, Link: policy.Subnets()[:1]}
	a.Answer = s.engine.Handle(req, s.unix())
	if a.WhoIs {
		req.Asked = true
		a.Answer = s.engine.Handle(req, s.unix())
	}
	if len(a.Records) != 1 {
		t.Fatalf("no lease to store: %+v", a.Answer)
	}
	return s, a
}

// When the disk fails nobody is told of a lease, and people are told why; when it is back, so is the service.
func TestDiskFailure(t *testing.T) {
	s, a := pooled(t)
	good := s.host.Leases
	bad, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Close(); err != nil {
		t.Fatal(err)
	}
	s.host.Leases = bad
	s.store([]*answer{a})
	if st := s.Status(); st.State != services.Degraded || !strings.Contains(st.Problem, "pool leases of IPv6 cannot be stored") {
		t.Errorf("status %+v", st)
	}
	if events := s.host.Events.Since(0); len(events) != 1 || events[0].Kind != timeline.DHCPFailed {
		t.Errorf("events, of which none may be of the lease: %+v", events)
	}
	if l := s.Leases(); len(l) == 1 && time.Until(l[0].Expires) > 2*time.Minute {
		t.Errorf("the address is blocked until %s", l[0].Expires)
	}
	s.host.Leases = good
	s.store([]*answer{a})
	if st := s.Status(); st.State != services.Up {
		t.Errorf("status after the disk came back: %+v", st)
	}
	if leases, err := good.Leases(); err != nil || len(leases) != 1 || leases[0].MAC != (plan.MAC{2, 0, 0, 0, 0, 1}) {
		t.Errorf("stored %+v, %v", leases, err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	c := commits{filled: make(chan struct{}, 1)}
	for i := range mostQueued {
		if !c.add(&answer{}) {
			t.Fatalf("full after %d", i)
		}
	}
	if c.add(&answer{}) {
		t.Error("the queue takes more than its bound")
	}
	if got := c.take(); len(got) != mostQueued || !c.add(&answer{}) {
		t.Errorf("%d taken", len(got))
	}
}

// A machine that nothing tells of is looked for once, and given up when it does not show itself.
func TestWhoIs(t *testing.T) {
	h := servicetest.NewHost(t, t.TempDir())
	table := map[netip.Addr][]plan.MAC{}
	asked := 0
	h.Nodes.Neighbours = func(a netip.Addr) ([]plan.MAC, error) { asked++; return table[a], nil }
	s := New(h.Host)
	p := &port{device: "eth0"}
	at, mac := netip.MustParseAddr("fe80::1"), plan.MAC{2, 0, 0, 0, 0, 1}
	ask := func() (plan.MAC, bool) {
		s.strangers.looked = time.Time{}
		return s.whoIs(p, at)
	}
	if _, known := ask(); known {
		t.Error("known at once")
	}
	table[at] = []plan.MAC{mac, {2, 0, 0, 0, 0, 2}} // on two links
	if got, known := ask(); known && !got.IsZero() {
		t.Errorf("one of two: %s", got)
	}
	table[at] = []plan.MAC{mac}
	if got, known := ask(); !known || got != mac {
		t.Errorf("%s, %v", got, known)
	}
	before := asked
	if got, known := ask(); !known || got != mac || asked != before {
		t.Errorf("%s, %v, asked %d times more", got, known, asked-before)
	}
	at = netip.MustParseAddr("fe80::2")
	ask()
	s.strangers.known[at] = stranger{since: time.Now().Add(-2 * whoIsWait)}
	if got, known := ask(); !known || !got.IsZero() {
		t.Errorf("nobody: %s, %v", got, known)
	}
	for i := range 3 * mostStrangers {
		at = netip.AddrFrom16([16]byte{0xfe, 0x80, 14: byte(i >> 8), 15: byte(i)})
		ask()
	}
	if n := len(s.strangers.known); n > mostStrangers {
		t.Errorf("%d are remembered", n)
	}
}

func TestDisabled(t *testing.T) {
	s := New(servicetest.NewHost(t, t.TempDir()).Host)
	c, err := s.Prepare(t.Context(), &plan.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	c.Commit()
	if got := s.Status().State; got != services.Disabled || s.Check(t.Context()) != nil || len(s.Leases()) != 0 {
		t.Errorf("switched off: %s", got)
	}
}
