package explain

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/plan"
	"helperd/services/dhcp6/engine"
	"helperd/services/leasing"
	"helperd/state"
)

const now = int64(1_800_000_000)

var (
	node     = plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x67}
	far      = plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}
	stranger = plan.MAC{2, 0, 0, 0, 0, 1}
	finder   = plan.MAC{2, 0, 0, 0, 0, 2} // of an address that somebody else uses
	serverID = &dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: []byte{2, 9, 9, 9, 9, 9}}
	// clientID is IAID and DUID-UUID of the stranger's system.
	clientID = []byte("\x00\x00\x00\x07\x00\x04abcdefghijklmnop")
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func site() *plan.DHCP {
	return &plan.DHCP{
		Enabled: true,
		Subnets: []plan.Subnet{
			{
				Prefix: netip.MustParsePrefix("fd00:67::/64"), Mode: plan.ModeServer, Server: ip("fd00:67::2"),
				Pool: plan.Range{First: ip("fd00:67::100"), Last: ip("fd00:67::103")}, PoolLease: 4 * time.Hour, ReservationLease: 168 * time.Hour,
				DNS: []netip.Addr{ip("fd00:67::2")}, NTP: []netip.Addr{ip("fd00:67::4")}, Search: []string{"example.com"},
			},
			{Prefix: netip.MustParsePrefix("fd00:30::/64"), Mode: plan.ModeServer, Server: ip("fd00:67::2"), IgnoreUnknown: true, ReservationLease: time.Hour},
		},
		Reservations: []plan.Reservation{
			{MAC: node, Address: ip("fd00:67::10"), Node: "n.example.com", Hostname: "n.example.com", Search: []string{"n.example.com"}, Boot: &plan.BootFiles{
				Script: "http://[fd00:67::2]:8080/ipxe", TFTP: map[uint16]string{plan.ArchEFI64: "tftp://[fd00:67::2]/snponly.efi"},
				HTTP: map[uint16]string{plan.ArchHTTP64: "http://[fd00:67::2]:8080/snponly.efi"},
			}},
			{MAC: far, Address: ip("fd00:30::10"), Hostname: "far.example.com"},
		},
	}
}

func lab(t *testing.T) (*engine.Engine, []Place) {
	t.Helper()
	p, err := engine.Compile(site(), []netip.Addr{ip("fd00:67::2")})
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New(serverID, []state.Lease{
		{Address: ip("fd00:67::102"), MAC: stranger, ClientID: clientID, State: state.Bound, Expires: time.Unix(now+3600, 0)},
		{Address: ip("fd00:67::103"), MAC: finder, ClientID: []byte("\x00\x00\x00\x01gone"), State: state.Declined, Expires: time.Unix(now+3600, 0)},
	})
	e.Adopt(p, now)
	return e, []Place{{Via: "on eth0", Link: []*engine.Subnet{p.At(netip.MustParsePrefix("fd00:67::/64"))}}, Behind(p.At(netip.MustParsePrefix("fd00:30::/64")))}
}

func ask(e *engine.Engine, places []Place, q leasing.Question) []leasing.Answer {
	if q.Relay.IsValid() {
		places = []Place{Relayed(q.Relay)}
	}
	s := e.Snapshot()
	return Ask(func() *engine.Engine { return s.Engine(now) }, places, &q, now)
}

func TestAnswers(t *testing.T) {
	e, places := lab(t)
	served := netip.MustParsePrefix("fd00:67::/64")
	for _, tt := range []struct {
		name string
		q    leasing.Question
		want []string // network, way, outcome, address; a part of the reason: of each place
	}{
		{"a node, where it is", leasing.Question{MAC: node}, []string{"fd00:67::/64 on eth0, reservation, fd00:67::10; helper.yaml gives fd00:67::10 to n.example.com"}},
		{"a host behind a relay", leasing.Question{MAC: far}, []string{"fd00:30::/64 through a relay, reservation, fd00:30::10; helper.yaml gives"}},
		{"a node elsewhere", leasing.Question{MAC: node, Relay: ip("fd00:30::1")}, []string{"fd00:30::/64 through relay fd00:30::1, refused, invalid IP; connect it to that network"}},
		{"a stranger with a lease of its system", leasing.Question{MAC: stranger, Network: served}, []string{"fd00:67::/64 on eth0, pool, fd00:67::102; it has this address already, until 2027-01-15T09:00:00Z"}},
		{"its client id from another MAC", leasing.Question{MAC: finder, ClientID: append([]byte{0xff}, clientID...), Network: served}, []string{"fd00:67::/64 on eth0, pool, fd00:67::102; no node"}},
		{"a stranger", leasing.Question{MAC: plan.MAC{2, 7, 0, 0, 0, 1}, Relay: ip("fd00:30::1")}, []string{"fd00:30::/64 through relay fd00:30::1, refused, invalid IP; has no ip6 in network fd00:30::/64"}},
		{"a network that is not served", leasing.Question{MAC: node, Network: netip.MustParsePrefix("fd01::/64")}, nil},
		{"a relay of no network", leasing.Question{MAC: node, Relay: ip("fd01::1")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(e, places, tt.q)
			if len(got) != len(tt.want) {
				t.Fatalf("%d places: %+v", len(got), got)
			}
			for i, a := range got {
				head, reason, _ := strings.Cut(tt.want[i], "; ")
				if text := fmt.Sprintf("%s %s, %s, %s", a.Network, a.Via, a.Outcome, a.Address); text != head || !strings.Contains(a.Reason, reason) {
					t.Errorf("got  %s; %s\nwant %s", text, a.Reason, tt.want[i])
				}
			}
		})
	}
}

// What is told is what the wire has.
func TestWhatIsTold(t *testing.T) {
	e, places := lab(t)
	a := ask(e, places, leasing.Question{MAC: node})[0]
	options := map[string]string{}
	for _, o := range a.Options {
		options[o.Name] = o.Value
	}
	if d := cmp.Diff(map[string]string{
		"DNS servers": "fd00:67::2", "search domains": "n.example.com", "time servers": "fd00:67::4", "renews after": "84h0m", "asks any server after": "134h24m", "host name": "n.example.com",
	}, options); d != "" {
		t.Error(d)
	}
	boots := []leasing.Boot{}
	for _, b := range a.Boot {
		if b.Loads != "" {
			boots = append(boots, b)
		} else if !strings.Contains(b.Reason, "gets no boot file") {
			t.Errorf("%s loads nothing: %q", b.Firmware, b.Reason)
		}
	}
	if d := cmp.Diff([]leasing.Boot{
		{Firmware: "uefi-x64", Loads: "tftp://[fd00:67::2]/snponly.efi", Over: "TFTP"},
		{Firmware: "http-x64", Loads: "http://[fd00:67::2]:8080/snponly.efi", Over: "HTTP"},
		{Firmware: "ipxe", Loads: "http://[fd00:67::2]:8080/ipxe", Over: "HTTP"},
	}, boots, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Error(d)
	}
	if a := ask(e, places, leasing.Question{MAC: finder})[0]; len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "fd00:67::103 is declined until") {
		t.Errorf("%+v", a)
	}
}

// Why a kind of firmware loads nothing is said of each.
func TestWhyNothing(t *testing.T) {
	e, places := lab(t)
	for _, b := range ask(e, places, leasing.Question{MAC: stranger})[0].Boot {
		if b.Loads != "" || !strings.Contains(b.Reason, "wants to boot from the network") {
			t.Errorf("%+v", b)
		}
	}
}

// To ask changes nothing.
func TestNothingChanges(t *testing.T) {
	e, places := lab(t)
	before, counts := e.Leases(now), e.Counts()
	for i := range 50 {
		if a := ask(e, places, leasing.Question{MAC: plan.MAC{2, 7, 0, 0, 0, byte(i)}})[0]; a.Outcome != leasing.FromPool {
			t.Fatalf("machine %d would get nothing: those before it left traces: %+v", i, a)
		}
	}
	if d := cmp.Diff(before, e.Leases(now), cmpopts.EquateComparable(netip.Addr{})); d != "" || counts != e.Counts() {
		t.Errorf("%s\n%+v, then %+v", d, counts, e.Counts())
	}
}

// Who asks too often is told so.
func TestTooOften(t *testing.T) {
	e, places := lab(t)
	d := &dialogue{engine: e, at: places[0], q: &leasing.Question{MAC: stranger}, now: now}
	d.iaid, d.duid = identity(d.q, nil)
	solicit := d.message(dhcpv6.MessageTypeSolicit)
	for i := range 100 {
		warned := false
		for _, a := range Warn(e.Snapshot(), d.q, ask(e, places[:1], *d.q)) {
			warned = len(a.Warnings) > 0 && strings.Contains(a.Warnings[0], "asks too often")
		}
		got := e.Handle(&engine.Request{Data: solicit, From: netip.AddrPortFrom(linkLocal(stranger), 546), Multicast: true, Link: places[0].Link}, now)
		if silent := len(got.Message) == 0 && !got.WhoIs; silent != warned {
			t.Fatalf("message %d: not answered: %v, warned: %v", i, silent, warned)
		}
	}
}

// Without a daemon the file answers.
func TestPlan(t *testing.T) {
	p := &plan.Plan{DHCP6: *site()}
	for _, q := range []leasing.Question{{MAC: node}, {MAC: far, Relay: ip("fd00:30::1")}} {
		if a, err := Plan(p, &q, now); err != nil || len(a) != 1 || a[0].Outcome != leasing.FromReservation {
			t.Errorf("%+v, %v", a, err)
		}
	}
}
