package leasing

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"helperd/plan"
)

var lan = netip.MustParsePrefix("192.168.67.0/24")

func use(leased, declined int) []Use {
	return []Use{{Network: lan, Pool: plan.Range{First: netip.MustParseAddr("192.168.67.100"), Last: netip.MustParseAddr("192.168.67.199")}, Size: 100, Leased: leased, Declined: declined, Offered: 3}}
}

// A level is told of once, and again only after the pool had room.
func TestAlarm(t *testing.T) {
	var a Alarm
	for _, step := range []struct {
		leased, declined int
		want             string // in the one text; empty: none
	}{
		{79, 0, ""},
		{70, 10, "is 80 % full: 20 of 100 addresses are free"},
		{81, 0, ""},
		{92, 0, "is 92 % full"},
		{89, 0, ""},
		{91, 0, ""},
		{84, 0, ""},
		{90, 0, "is 90 % full"},
		{76, 0, ""},
		{74, 0, ""},
		{100, 0, "is 100 % full: 0 of 100"},
	} {
		news := a.Look(use(step.leased, step.declined))
		if step.want == "" && len(news) > 0 || step.want != "" && (len(news) != 1 || !strings.Contains(news[0], step.want)) {
			t.Errorf("at %d + %d: %q, want %q", step.leased, step.declined, news, step.want)
		}
	}
	if n := Notes(use(79, 0)); len(n) != 0 {
		t.Errorf("notes of a pool with room: %q", n)
	}
	if n := Notes(use(80, 0)); len(n) != 1 || !strings.Contains(n[0], "192.168.67.100-192.168.67.199 of network 192.168.67.0/24") {
		t.Errorf("notes: %q", n)
	}
	if news := a.Look([]Use{{Network: lan}}); len(news) > 0 { // a network without a pool
		t.Errorf("%q", news)
	}
}

// Names and labels are a contract with dashboards.
func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	m := NewMetrics(r, "dhcp", func() Totals {
		return Totals{
			Received: map[string]uint64{"discover": 3}, Sent: map[string]uint64{"offer": 2},
			Refused: map[string]uint64{"unknown": 1}, Dropped: map[string]uint64{"malformed": 4}, Uses: use(90, 2), DiskFails: true,
		}
	})
	m.Committed(5, 3*time.Millisecond, nil)
	m.Committed(7, time.Second, errors.New("full"))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, v := range f.GetMetric() {
			name := f.GetName()
			for _, l := range v.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			got[name] = v.GetCounter().GetValue() + v.GetGauge().GetValue() + float64(v.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"helperd_dhcp_messages_total direction=in type=discover": 3, "helperd_dhcp_messages_total direction=out type=offer": 2,
		"helperd_dhcp_refusals_total reason=unknown": 1, "helperd_dhcp_drops_total reason=malformed": 4,
		"helperd_dhcp_addresses network=192.168.67.0/24 state=leased": 90, "helperd_dhcp_addresses network=192.168.67.0/24 state=declined": 2,
		"helperd_dhcp_addresses network=192.168.67.0/24 state=offered": 3, "helperd_dhcp_addresses network=192.168.67.0/24 state=reserved": 0,
		"helperd_dhcp_pool_size_addresses network=192.168.67.0/24": 100, "helperd_dhcp_pool_free_addresses network=192.168.67.0/24": 5,
		"helperd_dhcp_commits_total outcome=ok": 1, "helperd_dhcp_commits_total outcome=failed": 1,
		"helperd_dhcp_committed_leases_total": 5, "helperd_dhcp_commit_duration_seconds": 2, "helperd_dhcp_disk_failing": 1,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestQuestion(t *testing.T) {
	whole := Question{MAC: plan.MAC{2, 0, 0, 0, 0, 1}, ClientID: []byte("\x01\xff&\x00"), Firmware: "ipxe", Relay: netip.MustParseAddr("fd00::1"), Network: lan}
	for _, q := range []Question{whole, {MAC: whole.MAC}} {
		got, err := ParseQuestion(q.Values())
		if d := cmp.Diff(q, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("%v\n%s", err, d)
		}
	}
	if n := len((&Question{}).Asked()); n != len(Firmwares()) {
		t.Errorf("%d firmwares are asked for", n)
	}
	if got := whole.Asked(); len(got) != 1 || !got[0].IPXE {
		t.Errorf("asked for %v", got)
	}
	if names := Names(); len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		t.Errorf("names are not told apart: %q", names)
	}
}

// Of a machine of the file it is told where it gets something.
func TestRelevant(t *testing.T) {
	all := func() []Answer { return []Answer{{Outcome: FromReservation}, {Outcome: Refused}, {Outcome: FromPool}} }
	for n, q := range map[int]Question{2: {}, 3: {Network: lan}} {
		if got := q.Relevant(all()); len(got) != n {
			t.Errorf("%d answers, want %d", len(got), n)
		}
	}
	if got := (&Question{}).Relevant(all()[1:]); len(got) != 2 {
		t.Errorf("of a stranger: %+v", got)
	}
}

func TestText(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "", 2 * time.Hour: "2h0m", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 100 * time.Hour: "100h0m"} {
		if got := Span(d); got != want {
			t.Errorf("%v is %q, want %q", time.Duration(d), got, want)
		}
	}
	for file, want := range map[string]string{"": "", "snponly.efi": "TFTP", "http://192.168.67.2/x": "HTTP", "tftp://[fd00::1]/x": "TFTP"} {
		if got := Over(file); got != want {
			t.Errorf("%q is fetched by %q, want %q", file, got, want)
		}
	}
}
