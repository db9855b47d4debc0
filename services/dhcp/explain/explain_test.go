package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services/dhcp/engine"
	"helperd/services/dhcp/packet"
	"helperd/services/leasing"
	"helperd/state"
)

const now = int64(1_800_000_000)

var (
	node     = plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x67}
	edge     = plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}
	stranger = plan.MAC{2, 0, 0, 0, 0, 1}
	finder   = plan.MAC{2, 0, 0, 0, 0, 2} // of an address that somebody else uses
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func site() *plan.DHCP {
	return &plan.DHCP{
		Enabled: true,
		Subnets: []plan.Subnet{
			{
				Prefix: netip.MustParsePrefix("192.168.67.0/24"), Mode: plan.ModeServer, Server: ip("192.168.67.2"),
				Pool: plan.Range{First: ip("192.168.67.100"), Last: ip("192.168.67.104")}, PoolLease: 4 * time.Hour, ReservationLease: 168 * time.Hour,
				Router: ip("192.168.67.1"), DNS: []netip.Addr{ip("192.168.67.2"), ip("192.168.67.3")}, NTP: []netip.Addr{ip("192.168.67.4")}, MTU: 9000,
				Routes: []plan.Route{{To: netip.MustParsePrefix("10.0.0.0/8"), Via: ip("192.168.67.9")}}, Domain: "example.com", Search: []string{"example.com"},
			},
			{Prefix: netip.MustParsePrefix("10.30.8.0/26"), Mode: plan.ModeServer, Server: ip("192.168.67.2"), IgnoreUnknown: true, PoolLease: time.Hour, ReservationLease: time.Hour, Router: ip("10.30.8.1")},
		},
		Reservations: []plan.Reservation{
			{MAC: node, Address: ip("192.168.67.10"), Node: "n.example.com", Hostname: "n.example.com", Boot: &plan.BootFiles{
				Script: "http://192.168.67.2:8080/ipxe", TFTP: map[uint16]string{plan.ArchEFI64: "snponly.efi"},
				ConfigFile: "pxelinux.cfg/01", PathPrefix: map[uint16]string{plan.ArchPetitboot: "http://192.168.67.2:8080/"},
			}},
			{MAC: edge, Address: ip("10.30.8.10"), Hostname: "sno.example.com"},
		},
	}
}

// lab is a server with a lease, an address in quarantine and another server beside it.
func lab(t *testing.T) (*engine.Engine, []Place) {
	t.Helper()
	p, err := engine.Compile(site(), []netip.Addr{ip("192.168.67.2")})
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New([]state.Lease{
		{Address: ip("192.168.67.103"), MAC: stranger, ClientID: []byte("\xffme"), State: state.Bound, Expires: time.Unix(now+3600, 0)},
		{Address: ip("192.168.67.101"), MAC: finder, State: state.Declined, Expires: time.Unix(now+3600, 0)},
	})
	e.Adopt(p, now)
	return e, []Place{{Via: "on eth0", Link: p.Subnets()[1:]}, Behind(p.Subnets()[0])}
}

func ask(t *testing.T, e *engine.Engine, places []Place, q leasing.Question) []leasing.Answer {
	t.Helper()
	if q.Relay.IsValid() {
		places = []Place{Relayed(q.Relay)}
	}
	return Ask(e.Snapshot().Engine, places, &q, now)
}

func TestAnswers(t *testing.T) {
	e, places := lab(t)
	served := netip.MustParsePrefix("192.168.67.0/24")
	for _, tt := range []struct {
		name string
		q    leasing.Question
		want []string // network, way, outcome, address; a part of the reason: of each place
	}{
		{"a node, where it is", leasing.Question{MAC: node}, []string{"192.168.67.0/24 on eth0, reservation, 192.168.67.10: helper.yaml gives 192.168.67.10 to n.example.com"}},
		{"a host behind a relay", leasing.Question{MAC: edge}, []string{"10.30.8.0/26 through a relay, reservation, 10.30.8.10: helper.yaml gives"}},
		{"a node elsewhere", leasing.Question{MAC: edge, Network: served}, []string{"192.168.67.0/24 on eth0, pool, 192.168.67.100: no node or host"}},
		{"a node in a network that knows only others", leasing.Question{MAC: node, Relay: ip("10.30.8.1")}, []string{"10.30.8.0/26 through relay 10.30.8.1, refused, invalid IP: connect it to that network"}},
		{"a stranger with a lease", leasing.Question{MAC: stranger}, []string{
			"192.168.67.0/24 on eth0, pool, 192.168.67.103: it has this address already, until 2027-01-15T09:00:00Z",
			"10.30.8.0/26 through a relay, refused, invalid IP: is in no node of helper.yaml",
		}},
		{"its client id from another MAC", leasing.Question{MAC: finder, ClientID: []byte("\xffme"), Network: served}, []string{"192.168.67.0/24 on eth0, pool, 192.168.67.103: no node"}},
		{"another client id of its MAC", leasing.Question{MAC: stranger, ClientID: []byte("\xffyou"), Network: served}, []string{"192.168.67.0/24 on eth0, pool, 192.168.67.100: no node"}},
		{"a network that is not served", leasing.Question{MAC: node, Network: netip.MustParsePrefix("10.0.0.0/8")}, nil},
		{"a relay of no network", leasing.Question{MAC: node, Relay: ip("10.99.0.1")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, e, places, tt.q)
			if len(got) != len(tt.want) {
				t.Fatalf("%d places: %+v", len(got), got)
			}
			for i, a := range got {
				head, reason, _ := strings.Cut(tt.want[i], ": ")
				if text := fmt.Sprintf("%s %s, %s, %s", a.Network, a.Via, a.Outcome, a.Address); text != head || !strings.Contains(a.Reason, reason) {
					t.Errorf("got  %s: %s\nwant %s", text, a.Reason, tt.want[i])
				}
			}
		})
	}
}

// What is told is what the wire has.
func TestWhatIsTold(t *testing.T) {
	e, places := lab(t)
	a := ask(t, e, places, leasing.Question{MAC: node})[0]
	if a.Node != "n.example.com" || a.Hostname != "n.example.com" || a.Lease != 168*time.Hour {
		t.Errorf("%+v", a)
	}
	options := map[string]string{}
	for _, o := range a.Options {
		options[o.Name] = o.Value
	}
	want := map[string]string{
		"netmask": "255.255.255.0", "DNS servers": "192.168.67.2, 192.168.67.3", "time servers": "192.168.67.4", "MTU": "9000",
		"routes": "10.0.0.0/8 via 192.168.67.9", "broadcast": "192.168.67.255", "server": "192.168.67.2", "renews after": "84h0m", "asks any server after": "147h0m", "host name": "n.example.com",
	}
	if d := cmp.Diff(want, options); d != "" {
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
		{Firmware: "uefi-x64", Loads: "snponly.efi", Over: "TFTP", From: ip("192.168.67.2")},
		{Firmware: "petitboot", Loads: "http://192.168.67.2:8080/pxelinux.cfg/01", Over: "HTTP"},
		{Firmware: "ipxe", Loads: "http://192.168.67.2:8080/ipxe", Over: "HTTP"},
	}, boots, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Error(d)
	}
}

// Why a kind of firmware loads nothing is said of each.
func TestWhyNothing(t *testing.T) {
	e, places := lab(t)
	for _, b := range ask(t, e, places, leasing.Question{MAC: stranger})[0].Boot {
		if b.Loads != "" || !strings.Contains(b.Reason, "wants to boot from the network") {
			t.Errorf("%+v", b)
		}
	}
}

func TestWarnings(t *testing.T) {
	e, places := lab(t)
	if a := ask(t, e, places, leasing.Question{MAC: finder})[0]; len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "192.168.67.101 is declined until") {
		t.Errorf("%+v", a)
	}
	var heard engine.Answer
	e.Heard(places[0].Link, ip("192.168.67.77"), plan.MAC{2, 9, 9, 9, 9, 9}, now, &heard)
	for mac, want := range map[plan.MAC]leasing.Outcome{node: leasing.FromReservation, stranger: leasing.Refused} {
		a := ask(t, e, places, leasing.Question{MAC: mac})[0]
		if a.Outcome != want || !slices.ContainsFunc(a.Warnings, func(w string) bool {
			return strings.Contains(w, "another DHCP server, 192.168.67.77 (MAC 02:09:09:09:09:09), answers")
		}) {
			t.Errorf("beside another server %s: %+v", mac, a)
		}
	}
}

// To ask changes nothing: not the next answer, no count, no lease.
func TestNothingChanges(t *testing.T) {
	e, places := lab(t)
	before, counts := e.Leases(now), e.Counts()
	for i := range 50 {
		if a := ask(t, e, places, leasing.Question{MAC: plan.MAC{2, 7, 0, 0, 0, byte(i)}})[0]; a.Address != ip("192.168.67.100") {
			t.Fatalf("machine %d would get %s: those before it left traces", i, a.Address)
		}
	}
	if d := cmp.Diff(before, e.Leases(now), cmpopts.EquateComparable(netip.Addr{})); d != "" || counts != e.Counts() {
		t.Errorf("%s\n%+v, then %+v", d, counts, e.Counts())
	}
	// And the real one gets what was said.
	d, err := dhcpv4.NewDiscovery(stranger[:], dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte("\xffme"))))
	if err != nil {
		t.Fatal(err)
	}
	var req packet.Request
	var a engine.Answer
	if err := req.Parse(d.ToBytes()); err != nil {
		t.Fatal(err)
	}
	e.Handle(&req, places[0].Link, now, &a)
	got, err := dhcpv4.FromBytes(a.Frame[packet.Headers:])
	if err != nil || got.YourIPAddr.String() != "192.168.67.103" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFullPool(t *testing.T) {
	e, places := lab(t)
	for i := range 3 {
		ip4 := []string{"192.168.67.100", "192.168.67.102", "192.168.67.104"}[i]
		leaseTo(t, e, places, plan.MAC{2, 8, 0, 0, 0, byte(i)}, ip4)
	}
	if a := ask(t, e, places, leasing.Question{MAC: plan.MAC{2, 7, 0, 0, 0, 1}})[0]; a.Outcome != leasing.Refused || !strings.Contains(a.Reason, "is full") {
		t.Errorf("%+v", a)
	}
}

func leaseTo(t *testing.T, e *engine.Engine, places []Place, mac plan.MAC, want string) {
	t.Helper()
	d := &dialogue{engine: e, at: places[0], q: &leasing.Question{MAC: mac}, now: now}
	if !d.concerns() {
		t.Fatal("no network")
	}
	if a := d.answer(); a.Address.String() != want {
		t.Fatalf("%s got %s, want %s", mac, a.Address, want)
	}
}

// Without a daemon the file answers.
func TestPlan(t *testing.T) {
	p := &plan.Plan{DHCP: *site()}
	for _, q := range []leasing.Question{{MAC: node}, {MAC: edge, Relay: ip("10.30.8.1")}} {
		if a, err := Plan(p, &q, now); err != nil || len(a) != 1 || a[0].Outcome != leasing.FromReservation {
			t.Errorf("%+v, %v", a, err)
		}
	}
}
