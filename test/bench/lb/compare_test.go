package lb

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"helperd/test/bench"
)

const (
	many = 64   // clients at once
	rate = 3000 // requests a second, for the latency
)

// last is how long a load takes.
func last() time.Duration {
	if bench.Full() {
		return 3 * time.Second
	}
	return 300 * time.Millisecond
}

// load makes one of what n clients do; fn gives the amount of work and how long it took.
func (l *lab) load(n int, fn func(*clients) (float64, error)) func(testing.TB, netip.Addr) bench.Work {
	return func(t testing.TB, addr netip.Addr) bench.Work {
		t.Helper()
		var w bench.Work
		err := l.with(addr, n, func(c *clients) (err error) {
			begun := time.Now()
			w.Amount, err = fn(c)
			w.Elapsed = time.Since(begun)
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		return w
	}
}

func (l *lab) servers(t *testing.T) []bench.Server {
	return []bench.Server{l.helperd(t), l.haproxy(t, 1), l.haproxy(t, 2)}
}

// both are bars against each of the peers.
func both(b bench.Bar) []bench.Bar {
	one, two := b, b
	one.Peer, two.Peer = "haproxy 1", "haproxy 2"
	return []bench.Bar{one, two}
}

func TestCompareRequests(t *testing.T) {
	l := newLab(t)
	c := bench.Comparison{
		Units:   bench.Units{Rate: "per second", CPU: "CPU us each", Per: 1e6},
		Servers: l.servers(t),
		Loads: []bench.Load{
			{
				Name: fmt.Sprintf("new connections, %d at once", many), Bars: both(bench.Bar{Rate: 1, CPU: 1.1}),
				Run: l.load(many, func(c *clients) (float64, error) {
					n, err := c.connections(last())
					return float64(n), err
				}),
			},
			{
				Name: fmt.Sprintf("requests over %d kept tunnels", many), Bars: both(bench.Bar{Rate: 1.1, CPU: 1.1}),
				Run: l.requests,
			},
		},
	}
	c.Run(t, l.Lab)
}

// requests leaves the opening of the tunnels out of the time; in the CPU it is little.
func (l *lab) requests(t testing.TB, addr netip.Addr) bench.Work {
	t.Helper()
	var w bench.Work
	err := l.with(addr, many, func(c *clients) error {
		if err := c.tunnels(many); err != nil {
			return err
		}
		begun := time.Now()
		n, err := c.requests(last())
		w = bench.Work{Amount: float64(n), Elapsed: time.Since(begun)}
		return err
	})
	if err != nil {
		t.Errorf("%s: %v", addr, err)
	}
	return w
}

func TestCompareBulk(t *testing.T) {
	l := newLab(t)
	c := bench.Comparison{
		Units:   bench.Units{Rate: "Gbit/s", CPU: "CPU s/GB", Per: 8},
		Servers: l.servers(t),
	}
	for _, streams := range []int{1, 8} {
		bars := both(bench.Bar{Rate: 1.5, CPU: 1.1})
		c.Loads = append(
			c.Loads,
			bench.Load{Name: fmt.Sprintf("download, %d streams", streams), Bars: bars, Run: l.load(streams, l.download)},
			bench.Load{Name: fmt.Sprintf("upload, %d streams", streams), Bars: bars, Run: l.load(streams, l.upload)},
		)
	}
	c.Run(t, l.Lab)
}

func (l *lab) download(c *clients) (float64, error) {
	before := l.backends.sent.Load()
	n, err := c.download(last())
	if sent := l.backends.sent.Load() - before; err == nil && n != sent {
		err = fmt.Errorf("%d bytes arrived of %d", n, sent)
	}
	return float64(n) * 8 / 1e9, err
}

func (l *lab) upload(c *clients) (float64, error) {
	before := l.backends.received.Load()
	n, err := c.upload(l.backends.file, last())
	if got := l.backends.received.Load() - before; err == nil && n != got {
		err = fmt.Errorf("%d bytes arrived of %d", got, n)
	}
	return float64(n) * 8 / 1e9, err
}

// TestCompareLatency has no bars: how long two cores that all share make a request wait says little of another machine.
func TestCompareLatency(t *testing.T) {
	l := newLab(t)
	c := bench.Comparison{
		Units:   bench.Units{CPU: "CPU us each", Per: 1e6, Other: []string{"us at p50", "us at p99", "of it added at p50", "of it added at p99"}},
		Servers: l.servers(t),
		Loads:   []bench.Load{{Name: fmt.Sprintf("%d requests/s over 32 tunnels", rate), Run: l.latency}},
	}
	c.Run(t, l.Lab)
}

// latency asks a backend directly first: what is more is added by the balancer and its link.
func (l *lab) latency(t testing.TB, addr netip.Addr) bench.Work {
	t.Helper()
	var w bench.Work
	measure := func(c *clients) error {
		if err := c.tunnels(len(c.slots)); err != nil {
			return err
		}
		begun := time.Now()
		took, err := c.paced(rate, last())
		if err != nil {
			return err
		}
		w.Amount, w.Elapsed = float64(len(took)), time.Since(begun)
		for _, q := range []int{50, 99} {
			w.Other = append(w.Other, float64(took[len(took)*q/100].Nanoseconds())/1e3)
		}
		return nil
	}
	err := l.backends.clients(l.Clients, l.backends.addrs[0], 32, measure)
	direct := w.Other
	if err == nil {
		w.Other = nil
		err = l.with(addr, 32, measure)
	}
	if err != nil {
		t.Errorf("%s: %v", addr, err)
		return bench.Work{}
	}
	w.Other = append(w.Other, w.Other[0]-direct[0], w.Other[1]-direct[1])
	return w
}

func TestCompareMemory(t *testing.T) {
	l := newLab(t)
	n := l.idle(t, bench.Full())
	before := map[netip.Addr]int64{}
	c := bench.Comparison{
		Units:   bench.Units{Other: []string{"bytes/tunnel", "MB in all"}},
		Servers: l.servers(t),
		Loads: []bench.Load{{
			Name: fmt.Sprintf("%d idle tunnels", n), Bars: both(bench.Bar{Other: []float64{0.2}}),
			Run: func(t testing.TB, addr netip.Addr) bench.Work {
				t.Helper()
				if before[addr] == 0 {
					before[addr] = l.Memory(t, addr)
				}
				w := bench.Work{Amount: float64(n)}
				err := l.with(addr, n, func(c *clients) error {
					begun := time.Now()
					if err := c.tunnels(many); err != nil {
						return err
					}
					w.Elapsed = time.Since(begun)
					time.Sleep(last())
					memory := l.Memory(t, addr)
					w.Other = []float64{float64(memory-before[addr]) / float64(n), float64(memory) / 1e6}
					return c.check(many)
				})
				if err != nil {
					t.Errorf("%s: %v", addr, err)
				}
				return w
			},
		}},
	}
	c.Run(t, l.Lab)
}
