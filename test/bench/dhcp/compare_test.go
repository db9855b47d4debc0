package dhcp

import (
	"net/netip"
	"testing"
	"time"

	"helperd/test/bench"
)

// memory in MB above that of the idle server is the most that leases may need.
const memory = 30

// TestCompareBig gives addresses of a large pool to ever new machines.
func TestCompareBig(t *testing.T) {
	s := newSite(t, big)
	servers := s.servers(t)
	s.compare(t, servers, bench.Load{
		Name: "64,000 addresses, new machines, 64 at once", Bars: bars(servers),
		Run: s.load(s.strangers, storm{machines: 64, total: 60_000, limit: long(3 * time.Second)}),
	})
}

// TestCompareSmall is a helper node's pool: 250 addresses for 200 machines.
func TestCompareSmall(t *testing.T) {
	s := newSite(t, small)
	servers := s.servers(t)
	known := storm{machines: 32, macs: 200, limit: long(2 * time.Second)}
	once := known
	once.total, once.limit = known.macs, 10*patience
	var first uint32
	loads := []bench.Load{
		{Name: "250 addresses, 200 machines, 32 at once, cold", Run: s.load(s.strangers, known), Bars: bars(servers)},
		{
			Name: "250 addresses, 200 machines, 32 at once, warm", Run: s.load(func() uint32 { return first }, known), Bars: bars(servers),
			Before: func(t testing.TB, addr netip.Addr) {
				t.Helper()
				first = s.strangers()
				_, err := s.storm(addr, first, once)
				must(t, err)
			},
		},
		{
			Name: "250 addresses, new machines that give theirs back, 32 at once",
			Run:  s.load(s.strangers, storm{machines: 32, releases: true, limit: long(2 * time.Second)}),
		},
	}
	if !bench.Full() {
		loads = loads[1:2]
	}
	s.compare(t, servers, loads...)
}

func (s *site) compare(t *testing.T, servers []bench.Server, loads ...bench.Load) {
	t.Helper()
	for i := range loads {
		loads[i].Most = []float64{0, 0, memory}
	}
	c := bench.Comparison{
		Units:   bench.Units{Rate: "DORA/s", CPU: "CPU us/DORA", Per: 1e6, Other: []string{"ms at p50", "ms at p99", "MB above idle"}},
		Servers: servers, Loads: loads, Fresh: true,
	}
	c.Run(t, s.Lab)
}

// bars are the same against every peer, and so against the best of them in each respect.
func bars(servers []bench.Server) []bench.Bar {
	var out []bench.Bar
	for _, peer := range servers[1:] {
		out = append(out, bench.Bar{Peer: peer.Name, Rate: 2.5, CPU: 1.0 / 3, Other: []float64{0, 1}})
	}
	return out
}

// load runs a storm of the machines from first on.
func (s *site) load(first func() uint32, st storm) func(testing.TB, netip.Addr) bench.Work {
	return func(t testing.TB, addr netip.Addr) bench.Work {
		t.Helper()
		idle := s.Memory(t, addr)
		st.least = 1
		out, err := s.storm(addr, first(), st)
		if err == nil && out.done == 0 {
			t.Errorf("no machine got an address within %v: %d started over, %d were refused", st.limit, out.restarts, out.refusals)
		}
		if err != nil || out.done == 0 {
			t.Errorf("storm on %s: %v", addr, err)
			return bench.Work{}
		}
		if out.restarts+out.refusals > 0 {
			t.Logf("%s: %d machines heard nothing for %v and started over, %d were refused", addr, out.restarts, patience, out.refusals)
		}
		above := float64(s.Memory(t, addr)-idle) / 1e6
		return bench.Work{Amount: float64(out.done), Elapsed: out.elapsed, Other: []float64{out.at(0.5), out.at(0.99), above}}
	}
}
