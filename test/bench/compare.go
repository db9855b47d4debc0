package bench

import (
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"
)

// A Server is one of the programs that are compared.
type Server struct {
	Name string
	// Note is said of it above the tables, such as what it promises that others do not; empty: nothing.
	Note string
	// Command gives the program and its arguments; it serves at addr, in the foreground.
	Command func(addr netip.Addr) []string
	// Ready gives nil when the server at addr serves. It is asked again until then.
	Ready func(addr netip.Addr) error
}

// A Load is what every server is asked to do: one row of the tables.
type Load struct {
	Name string
	// Run asks the server at addr, and says what has got done.
	Run func(t testing.TB, addr netip.Addr) Work
	// Before is done first and not counted; nil: nothing.
	Before func(t testing.TB, addr netip.Addr)
	// Bars are what the first server has to reach.
	Bars []Bar
	// Most are the first server's Work.Other at most, whatever the peers need; 0: any.
	Most []float64
}

// Work is what got done.
type Work struct {
	Amount  float64 // such as MB or requests
	Elapsed time.Duration
	Other   []float64 // as many as Units.Other
}

// A Bar is a ratio of the first server to a peer.
type Bar struct {
	Peer string
	Rate float64 // at least; 0: any
	CPU  float64 // at most, per amount; 0: any
	// Other are those of Work.Other, at most; 0: any.
	Other []float64
}

// Units say how the figures are shown. What has no unit is not.
type Units struct {
	Rate  string   // such as "MB/s"
	CPU   string   // such as "CPU s/GB"
	Per   float64  // amount that CPU seconds are shown per, such as 1000 MB
	Other []string // of Work.Other, such as "us at p99"
}

// A Comparison runs every load against every server.
type Comparison struct {
	Units   Units
	Servers []Server // ours first
	Loads   []Load
	// Fresh servers are started for each run and end after it, one at a time and all at
	// the same address. It is for those that remember what they did, or that cannot run
	// beside each other.
	Fresh bool
}

// Full reports whether bars are judged, which one round cannot do.
func Full() bool { return os.Getenv("HELPERD_BENCH") != "" }

// rounds is how often every load runs.
func rounds(t testing.TB) int {
	t.Helper()
	if !Full() {
		return 1
	}
	n, err := strconv.Atoi(os.Getenv("HELPERD_BENCH"))
	if err != nil || n < 1 {
		t.Fatalf("HELPERD_BENCH=%q, want a number of rounds", os.Getenv("HELPERD_BENCH"))
	}
	return n
}

// Run starts the servers, measures, and writes the tables to standard output.
func (c *Comparison) Run(t testing.TB, l *Lab) {
	t.Helper()
	addrs := make([]netip.Addr, len(c.Servers))
	for i, s := range c.Servers {
		if c.Fresh && i > 0 {
			addrs[i] = addrs[0]
			continue
		}
		if addrs[i] = l.address(t); !c.Fresh {
			l.run(t, s, addrs[i])
		}
	}
	tab := newTable(c)
	n := rounds(t)
	begun := time.Now()
	for i := range c.Servers {
		if !c.Fresh {
			c.Loads[0].Run(t, addrs[i]) // fills the caches, and is not counted
		}
	}
	for round := range n {
		for row := range c.Loads {
			for turn := range c.Servers {
				i := (round + turn) % len(c.Servers) // nobody is always the first
				w, cpu := c.measure(t, l, &c.Loads[row], &c.Servers[i], addrs[i])
				tab.add(row, i, w, cpu)
			}
		}
	}
	tab.write(os.Stdout, n, time.Since(begun))
	if missed := tab.missed(); Full() {
		for _, m := range missed {
			t.Error(m)
		}
	}
}

// measure runs one load against one server.
func (c *Comparison) measure(t testing.TB, l *Lab, load *Load, s *Server, addr netip.Addr) (Work, time.Duration) {
	t.Helper()
	if c.Fresh {
		p := l.run(t, *s, addr)
		defer p.stop(t)
	}
	if load.Before != nil {
		load.Before(t, addr)
	}
	p := l.procs[addr]
	before, err := p.cpu()
	must(t, err)
	w := load.Run(t, addr)
	time.Sleep(settle)
	after, err := p.cpu()
	must(t, err)
	if t.Failed() {
		t.Fatalf("%s, %s: the figures would mean nothing; the server says:\n%s", load.Name, s.Name, p.out.String())
	}
	return w, after - before
}

// settle is how long a server may tidy up after a load.
const settle = 50 * time.Millisecond
