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
	// Bars are what the first server has to reach.
	Bars []Bar
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
	procs := make([]*process, len(c.Servers))
	for i, s := range c.Servers {
		addrs[i] = l.Start(t, s)
		procs[i] = l.procs[addrs[i]]
	}
	tab := newTable(c)
	n := rounds(t)
	begun := time.Now()
	for i := range c.Servers {
		c.Loads[0].Run(t, addrs[i]) // fills the caches, and is not counted
	}
	for round := range n {
		for row, load := range c.Loads {
			for turn := range c.Servers {
				i := (round + turn) % len(c.Servers) // nobody is always the first
				before, err := procs[i].cpu()
				must(t, err)
				w := load.Run(t, addrs[i])
				time.Sleep(settle)
				after, err := procs[i].cpu()
				must(t, err)
				if t.Failed() {
					t.Fatalf("%s, %s: the figures would mean nothing; the server says:\n%s", load.Name, c.Servers[i].Name, procs[i].out.String())
				}
				tab.add(row, i, w, after-before)
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

// settle is how long a server may tidy up after a load.
const settle = 50 * time.Millisecond
