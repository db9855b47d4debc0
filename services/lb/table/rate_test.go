package table

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"helperd/plan"
)

func TestLimiter(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	tests := []struct {
		name string
		rate plan.Rate
		at   []time.Duration
		want string // y: taken
	}{
		{"a burst, then evenly", plan.Rate{Connections: 3, Per: 3 * time.Second}, []time.Duration{0, 0, 0, 0, 999e6, 1e9, 1e9, 2e9}, "yyynnyny"},
		{"full again after the time", plan.Rate{Connections: 2, Per: time.Second}, []time.Duration{0, 0, 0, 1e9, 1e9, 1e9}, "yynyyn"},
		{"a pause saves no more than the time's worth", plan.Rate{Connections: 2, Per: time.Second}, []time.Duration{0, 1e12, 1e12, 1e12}, "yyyn"},
		{"refused ones cost nothing", plan.Rate{Connections: 1, Per: time.Second}, []time.Duration{0, 1, 2, 3, 1e9}, "ynnny"},
		{"many in a short time", plan.Rate{Connections: 10000, Per: time.Second}, []time.Duration{0, 0}, "yy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, client := range []netip.Addr{a, b} {
				l, got := newLimiter(tt.rate), ""
				for _, at := range tt.at {
					if l.take(client, int64(at)) {
						got += "y"
					} else {
						got += "n"
					}
				}
				if got != tt.want {
					t.Errorf("%s: %s, want %s", client, got, tt.want)
				}
			}
		})
	}
	l := newLimiter(plan.Rate{Connections: 1, Per: time.Second})
	if !l.take(a, 0) || !l.take(b, 0) || l.take(a, 1) {
		t.Error("clients share a bucket")
	}
	if newLimiter(plan.Rate{}) != nil {
		t.Error("no rate has a limiter")
	}
}

// TestLimiterFlood: a million clients take no more memory than few, and do not help one that is
// above its rate.
func TestLimiterFlood(t *testing.T) {
	l := newLimiter(plan.Rate{Connections: 10, Per: time.Second})
	if size := unsafe.Sizeof(*l); size > 2<<20 {
		t.Errorf("a limiter is %d bytes", size)
	}
	r := rand.New(rand.NewPCG(1, 2))
	greedy, passed := netip.MustParseAddr("192.0.2.1"), 0
	const clients = 1_000_000
	for i := range clients { // within a second
		now := int64(i) * int64(time.Second) / clients
		var a [16]byte
		binary.LittleEndian.PutUint64(a[:], r.Uint64())
		l.take(netip.AddrFrom16(a), now)
		if i%100 == 0 && l.take(greedy, now) { // 10,000 a second
			passed++
		}
	}
	if passed < 10 || passed > 21 {
		t.Errorf("one client had %d connections in a second, want 10 and those that came meanwhile", passed)
	}
	if n := testing.AllocsPerRun(100, func() { l.take(greedy, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestLimiterShared: workers together give no more than the rate.
func TestLimiterShared(t *testing.T) {
	l := newLimiter(plan.Rate{Connections: 500, Per: time.Hour})
	var all sync.WaitGroup
	var passed atomic.Int64
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if l.take(netip.MustParseAddr("192.0.2.1"), 0) {
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if passed.Load() != 500 {
		t.Errorf("%d of 500", passed.Load())
	}
}

// TestRateOverReload: a reload does not give a client its tokens again, unless the rate is another one.
func TestRateOverReload(t *testing.T) {
	with := func(prev *Table, r plan.Rate) *Frontend {
		tab, err := Build(prev, &plan.Plan{LB: plan.LB{
			Enabled: true, Frontends: []plan.Frontend{{Name: "f", Backend: "b", Rate: r}}, Backends: []plan.Backend{{Name: "b"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if prev != nil {
			*prev = *tab
		}
		return tab.Frontends[0]
	}
	client, once := netip.MustParseAddr("192.0.2.1"), plan.Rate{Connections: 1, Per: time.Hour}
	tab := &Table{}
	f := with(tab, once)
	if !f.Admits(client, 0) || f.Admits(client, 0) {
		t.Error("not once an hour")
	}
	if f = with(tab, once); f.Admits(client, 0) {
		t.Error("a reload forgot the client")
	}
	if n := f.Counters.TooFast.Load(); n != 2 {
		t.Errorf("TooFast = %d", n)
	}
	if f = with(tab, plan.Rate{Connections: 2, Per: time.Hour}); !f.Admits(client, 0) {
		t.Error("a new rate does not count")
	}
	if f = with(tab, plan.Rate{}); !f.Admits(client, 0) {
		t.Error("no rate refuses")
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := newLimiter(plan.Rate{Connections: 100, Per: time.Second})
	var a [4]byte
	b.ReportAllocs()
	for i := range b.N {
		binary.LittleEndian.PutUint32(a[:], uint32(i))
		l.take(netip.AddrFrom4(a), int64(i))
	}
}
