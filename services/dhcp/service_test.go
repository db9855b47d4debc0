package dhcp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services"
	"helperd/services/dhcp/engine"
	"helperd/services/dhcp/packet"
	"helperd/state"
	"helperd/timeline"
)

func policyOf(t *testing.T, name string) *engine.Policy {
	t.Helper()
	p, err := scenario(name)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := engine.Compile(&p.DHCP, nil)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func TestResolve(t *testing.T) {
	addr := netip.MustParseAddr
	lo := iface{"lo", 1, []netip.Addr{addr("127.0.0.1")}}
	tests := []struct {
		name    string
		plan    string
		have    []iface
		want    []string // device: number of networks
		missing []string // parts of the texts
	}{
		{"one interface, two networks by relay", "lan", []iface{lo, {"eth0", 2, []netip.Addr{addr("192.168.67.2")}}}, []string{"eth0: 1"}, nil},
		{
			"an interface for each of two", "lan",
			[]iface{{"eth0", 2, []netip.Addr{addr("192.168.67.9")}}, {"eth1", 3, []netip.Addr{addr("10.67.0.2")}}, {"eth2", 4, []netip.Addr{addr("192.168.67.2")}}},
			[]string{"eth0: 1", "eth1: 1", "eth2: 0"},
			nil,
		},
		{"two networks on one interface", "lan", []iface{{"br0", 2, []netip.Addr{addr("192.168.67.2"), addr("10.67.0.2")}}}, []string{"br0: 2"}, nil},
		{"relays only", "relays", []iface{lo, {"eth0", 2, []netip.Addr{addr("192.168.67.2")}}}, []string{"eth0: 0"}, nil},
		{"named and not there", "named", []iface{{"eth1", 2, []netip.Addr{addr("192.168.67.2")}}}, []string{"eth1: 0"}, []string{"interface eth0 of network 192.168.67.0/24 is not there"}},
		{"named, no address yet", "named", []iface{{"eth0", 2, nil}}, []string{"eth0: 1"}, []string{"no interface has 192.168.67.2, which machines of network 192.168.67.0/24", "none has 192.168.67.2", "none has 192.168.67.2"}},
		{"nothing", "relays", nil, nil, []string{"10.30.8.0/26, and none has 192.168.67.2", "10.67.0.0/16, and none has 192.168.67.2"}},
		{"switched off", "off", nil, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			places, missing := resolve(policyOf(t, tt.plan), tt.have)
			var got []string
			for _, p := range places {
				got = append(got, p.device+": "+string(rune('0'+len(p.subnets))))
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			slices.Sort(missing)
			if len(missing) != len(tt.missing) {
				t.Fatalf("missing %q", missing)
			}
			for i := range missing {
				if !strings.Contains(missing[i], tt.missing[i]) {
					t.Errorf("missing %q, want %q", missing[i], tt.missing[i])
				}
			}
		})
	}
}

// pooled gives a service without sockets and the answer to a pool client's REQUEST.
func pooled(t *testing.T) (*Service, *answer) {
	t.Helper()
	s := New(testHost(t, t.TempDir()))
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	policy := policyOf(t, "lan")
	s.engine.Adopt(policy, s.unix())
	s.generation.Store(&generation{enabled: true, policy: policy})
	a := s.answers.Get().(*answer)
	for _, typ := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest} {
		d, err := dhcpv4.New(dhcpv4.WithHwAddr([]byte{2, 0, 0, 0, 0, 1}), dhcpv4.WithMessageType(typ), dhcpv4.WithRelay([]byte{192, 168, 67, 250}),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(serverAddr.IP)), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress([]byte{192, 168, 67, 100})))
		if err != nil {
			t.Fatal(err)
		}
		var req packet.Request
		if err := req.Parse(d.ToBytes()); err != nil {
			t.Fatal(err)
		}
		s.engine.Handle(&req, nil, s.unix(), &a.Answer)
	}
	if !a.Durable || len(a.Frame) == 0 {
		t.Fatal("no lease to store")
	}
	return s, a
}

// When the disk fails nobody is told of a lease, and people are told why; when it is back, so is the service.
func TestDiskFailure(t *testing.T) {
	s, a := pooled(t)
	dir := t.TempDir()
	if err := s.host.Store.Close(); err != nil {
		t.Fatal(err)
	}
	out := newSender(s)
	s.store([]*answer{a}, out)
	if out.port != nil || out.frames.Queued() > 0 || out.routed.Queued() > 0 {
		t.Error("an answer was sent for a lease that is not on disk")
	}
	if st := s.Status(); st.State != services.Degraded || !strings.Contains(st.Problem, "pool leases cannot be stored") || st.Counters["failed_transactions"] != 1 {
		t.Errorf("status %+v", st)
	}
	events := s.host.Events.Since(0)
	if len(events) != 1 || events[0].Kind != timeline.DHCPFailed {
		t.Errorf("events %+v", events)
	}
	if l := s.Leases(); len(l) == 1 && time.Until(l[0].Expires) > 2*time.Minute {
		t.Errorf("the address is blocked until %s", l[0].Expires)
	}
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s.host.Leases = store
	a.Frame = nil // there is no socket to send by here
	s.store([]*answer{a}, out)
	if st := s.Status(); st.State != services.Up {
		t.Errorf("status after the disk came back: %+v", st)
	}
	if leases, err := store.Leases(); err != nil || len(leases) != 1 || leases[0].MAC != (plan.MAC{2, 0, 0, 0, 0, 1}) {
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
	if got := c.take(nil); len(got) != mostQueued {
		t.Errorf("%d taken", len(got))
	}
	if !c.add(&answer{}) {
		t.Error("full after it was emptied")
	}
}

func TestDisabled(t *testing.T) {
	s := New(testHost(t, t.TempDir()))
	if got := s.Status().State; got != services.Disabled {
		t.Errorf("before the first plan: %s", got)
	}
	p, _ := scenario("off")
	c, err := s.Prepare(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	c.Commit()
	if got := s.Status().State; got != services.Disabled || s.Check(t.Context()) != nil {
		t.Errorf("switched off: %s", got)
	}
	if got := s.Leases(); len(got) != 0 {
		t.Errorf("leases %v", got)
	}
}

func TestPrepareRefuses(t *testing.T) {
	s := New(testHost(t, t.TempDir()))
	p, _ := scenario("lan")
	p.DHCP.Subnets[0].Search = []string{"a..b"}
	if _, err := s.Prepare(t.Context(), p); err == nil || !strings.Contains(err.Error(), "network 192.168.67.0/24: search domain") {
		t.Errorf("error %v", err)
	}
	if len(s.ports) != 0 {
		t.Error("sockets are left")
	}
}
