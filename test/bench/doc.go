// Package bench runs helperd and the daemons that it replaces beside each
// other, and compares them: same machine, same link, alternating runs, ratios
// of medians.
//
//	servers, 192.0.2.11, .12, ... ── eth0 ── veth ── eth0 ── clients, 192.0.2.1
//
// All servers run at once, each at an address of its own and in a cgroup of its
// own, so that the CPU of what they fork is theirs; an idle one costs nothing.
// A comparison is one program of tests:
//
//	lab := bench.NewLab(t)
//	c := bench.Comparison{
//		Units:   bench.Units{Rate: "MB/s", CPU: "s/GB", Per: 1000},
//		Servers: []bench.Server{lab.Helperd(t, "tftp: {root: /srv}"), peer},
//		Loads:   []bench.Load{{Name: "1 MB", Run: fetch, Bars: []bench.Bar{{Peer: "peer", Rate: 1.5}}}},
//	}
//	c.Run(t, lab)
//
// Environment: HELPERD_BENCH is the number of rounds, and makes a missed bar an
// error; without it one round shows that the comparison works. HELPERD_BIN is
// the binary to test, absolute; without it one is built.
package bench
