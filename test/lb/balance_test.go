package lb

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// trioOf is a frontend with three servers that are not checked. The settings
// are those of the backend and of each server.
func trioOf(backend, s1, s2, s3 string) string {
	return join(`
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b}]
backends:
  - name: b
    check: {type: none}
    %s
    servers:
      - {name: one, address: "127.0.0.11:7000"%s}
      - {name: two, address: "127.0.0.12:7000"%s}
      - {name: three, address: "127.0.0.13:7000"%s}`, backend, s1, s2, s3)
}

// checkedTrio has servers that are asked five times a second, on a port of their own.
func checkedTrio(backend, s1, s2, s3 string) string {
	return strings.Replace(trioOf(backend, s1, s2, s3), "{type: none}", "{type: http, port: 7100, interval: 200ms, timeout: 1s, fall: 2, rise: 2}", 1)
}

var balanceCases = []testCase{
	{name: "round robin is even", lb: trioOf("", "", "", ""), proof: func(x *trial) {
		x.trio()
		x.shares(30, 10, 10, 10)
	}},
	{name: "weights divide", lb: trioOf("", ", weight: 10", ", weight: 20", ", weight: 30"), proof: func(x *trial) {
		x.trio()
		x.shares(60, 10, 20, 30)
	}},
	{name: "weight 0 takes nothing", lb: trioOf("", "", ", weight: 0", ""), proof: func(x *trial) {
		x.trio()
		x.shares(20, 10, 0, 10)
	}},
	{name: "weights are spread, not in a row", lb: trioOf("", ", weight: 2", ", weight: 1", ", weight: 1"), proof: func(x *trial) {
		x.trio()
		last, row := "", 0
		for range 40 {
			if who := x.who(front); who == last {
				row++
			} else {
				last, row = who, 1
			}
			if row > 2 {
				x.Fatalf("%s got %d connections in a row", last, row)
			}
		}
	}},
	{name: "leastconn fills the emptiest", lb: trioOf("balance: leastconn", "", "", ""), proof: func(x *trial) {
		x.trio()
		held := x.hold(9)
		for name, clients := range held {
			if len(clients) != 3 {
				x.Fatalf("%s has %d of 9 connections, want 3", name, len(clients))
			}
		}
		for _, c := range held["two"] {
			x.must(c.Close())
		}
		time.Sleep(300 * time.Millisecond) // the balancer notices
		if next := x.hold(3); len(next["two"]) != 3 {
			x.Errorf("the next three went to %v, want two", counts(next))
		}
	}},
	{name: "leastconn by weight", lb: trioOf("balance: leastconn", ", weight: 1", ", weight: 2", ", weight: 3"), proof: func(x *trial) {
		x.trio()
		if got := counts(x.hold(60)); !near(got["one"], 10) || !near(got["two"], 20) || !near(got["three"], 30) {
			x.Errorf("60 held connections went to %v, want 10, 20, 30", got)
		}
	}},
	{name: "source keeps a client on its server", lb: trioOf("balance: source", "", "", ""), proof: func(x *trial) {
		x.trio()
		used := map[string]bool{}
		for _, from := range clients(20) {
			first := x.whoFrom(from, front)
			used[first] = true
			for range 3 {
				if who := x.whoFrom(from, front); who != first {
					x.Fatalf("%s went to %s and to %s", from, first, who)
				}
			}
		}
		if len(used) != 3 {
			x.Errorf("20 clients use only %v", used)
		}
	}},
	{name: "source moves only clients of a server that goes", lb: checkedTrio("balance: source", "", "", ""), proof: sourceIsConsistent},
	{name: "a backup server waits", lb: trioOf("", "", "", ", backup: true"), proof: func(x *trial) {
		x.trio()
		x.shares(20, 10, 10, 0)
	}},
	{name: "backup servers step in, and are left again", lb: checkedTrio("", "", ", backup: true", ", backup: true"), proof: func(x *trial) {
		h := x.healthyTrio()
		x.awaitOnly(front, "one")
		h[0].answer(503)
		x.awaitOnly(front, "two", "three")
		h[0].answer(200)
		x.awaitOnly(front, "one")
	}},
	{name: "a slow start rises", lb: checkedTrio("slow_start: 6s", ", weight: 100", ", weight: 100", ", weight: 0"), proof: slowStart},
}

// shares asserts how many of n connections each of the trio gets, give or take one.
func (x *trial) shares(n, one, two, three int) {
	x.Helper()
	got := x.share(front, n)
	if !near(got["one"], one) || !near(got["two"], two) || !near(got["three"], three) || got[""] > 0 {
		x.Errorf("%d connections went to %v, want %d, %d, %d", n, got, one, two, three)
	}
	if zero := (one == 0 && got["one"] > 0) || (two == 0 && got["two"] > 0) || (three == 0 && got["three"] > 0); zero {
		x.Errorf("%v: one of them must get nothing", got)
	}
}

func near(a, b int) bool { return a-b <= 1 && b-a <= 1 }

// hold opens n connections and gives them by the name of their server.
func (x *trial) hold(n int) map[string][]*client {
	x.Helper()
	held := map[string][]*client{}
	for range n {
		c := x.dial(front)
		name := c.who()
		if name == "" {
			x.Fatal("a connection that is to be held was not served")
		}
		held[name] = append(held[name], c)
	}
	return held
}

func counts(held map[string][]*client) map[string]int {
	n := map[string]int{}
	for name, clients := range held {
		n[name] = len(clients)
	}
	return n
}

// clients gives n addresses of clients.
func clients(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("127.0.0.%d", 100+i))
	}
	return out
}

func sourceIsConsistent(x *trial) {
	h := x.healthyTrio()
	x.awaitOnlySources("one", "two", "three")
	placed := func() map[string]string {
		m := map[string]string{}
		for _, from := range clients(60) {
			m[from] = x.whoFrom(from, front)
		}
		return m
	}
	before := placed()
	h[1].answer(503)
	x.awaitOnlySources("one", "three")
	moved := 0
	for from, now := range placed() {
		if was := before[from]; was != "two" && was != now {
			moved++
		}
	}
	if moved > 0 {
		x.Errorf("%d clients of servers that stayed were moved", moved)
	}
	h[1].answer(200)
	x.awaitOnlySources("one", "two", "three")
	if after := placed(); !maps.Equal(before, after) {
		x.Errorf("after the server came back clients are at others than before:\n%v\n%v", before, after)
	}
}

// awaitOnlySources is awaitOnly with many clients.
func (x *trial) awaitOnlySources(names ...string) {
	x.Helper()
	x.await("clients are served by "+strings.Join(names, ", "), func() bool {
		got := map[string]bool{}
		for _, from := range clients(40) {
			got[x.whoFrom(from, front)] = true
		}
		for _, n := range names {
			if !got[n] {
				return false
			}
		}
		return len(got) == len(names)
	})
}

// slowStart measures the share of a server in the seconds after it came back.
// HAProxy spreads unevenly while weights change: only many connections tell.
func slowStart(x *trial) {
	h := x.healthyTrio()
	x.awaitOnly(front, "one", "two")
	h[1].answer(503)
	x.awaitOnly(front, "one")
	h[1].answer(200)
	var back time.Time
	x.await("the server takes its first connection", func() bool {
		back = time.Now()
		return x.who(front) == "two"
	})
	early, all := 0, 0
	for ; time.Since(back) < 3*time.Second; all++ {
		if x.who(front) == "two" {
			early++
		}
	}
	if early*100 > all*45 {
		x.Errorf("in the first half %d of %d: two should get a fifth or so", early, all)
	}
	x.await("two has its whole share", func() bool {
		return time.Since(back) > 6*time.Second && near(x.share(front, 40)["two"], 20)
	})
}
