package dhcp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/bench"
)

// anybody is a rate a second of which every server completes some.
const anybody = 500

// TestCompareRates offers new machines of the large pool at fixed rates by
// perfdhcp, and shows which part of them got an address. perfdhcp itself gives
// out near 10,000 a second.
func TestCompareRates(t *testing.T) {
	netns.Tools(t, "perfdhcp")
	s := newSite(t, big)
	c := bench.Comparison{
		Units:   bench.Units{Other: []string{"share of DORAs completed (perfdhcp)"}},
		Servers: s.servers(t), Fresh: true,
	}
	rates := []int{anybody, 3000, 10_000}
	if !bench.Full() {
		rates = rates[:1]
	}
	for _, rate := range rates {
		c.Loads = append(c.Loads, bench.Load{Name: fmt.Sprintf("%d/s for 2 s", rate), Run: s.perfdhcp(rate)})
	}
	c.Run(t, s.Lab)
}

// perfdhcp offers a rate of machines for two seconds.
func (s *site) perfdhcp(rate int) func(testing.TB, netip.Addr) bench.Work {
	return func(t testing.TB, addr netip.Addr) bench.Work {
		t.Helper()
		begun := time.Now()
		// It exits with 3 when exchanges were not completed.
		out, err := s.Clients.Exec("perfdhcp", "-4", "-l", relay, "-r", strconv.Itoa(rate), "-p", "2", "-R", "60000", "-W", "1000000", "-g", "multi", addr.String()).CombinedOutput()
		discovers, _, sent := exchange(string(out), "DISCOVER-OFFER")
		_, acks, received := exchange(string(out), "REQUEST-ACK")
		if !sent || !received || acks == 0 && rate <= anybody {
			t.Errorf("perfdhcp: %v: %s", err, out)
			return bench.Work{}
		}
		return bench.Work{Amount: acks, Elapsed: time.Since(begun), Other: []float64{acks / discovers}}
	}
}

// exchange reads from what perfdhcp says how many packets of one kind of exchange went and came.
func exchange(report, kind string) (sent, received float64, ok bool) {
	_, report, ok = strings.Cut(report, "Statistics for: "+kind)
	for line := range strings.Lines(report) {
		if v, found := strings.CutPrefix(line, "sent packets: "); found {
			sent, _ = strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
		if v, found := strings.CutPrefix(line, "received packets: "); found {
			received, _ = strconv.ParseFloat(strings.TrimSpace(v), 64)
			return sent, received, ok
		}
	}
	return 0, 0, false
}
