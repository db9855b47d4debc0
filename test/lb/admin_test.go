package lb

import (
	"encoding/csv"
	"strings"
	"time"
)

// adminCases are orders over HAProxy's runtime API.
var adminCases = []testCase{
	{name: "drain: no new connections, open ones live on", lb: trioOf("", "", "", ""), proof: withdrawn("drain")},
	{name: "maint: no new connections, open ones live on", lb: trioOf("", "", "", ""), proof: withdrawn("maint")},
	{name: "maint: no checks", lb: checkedTrio("", "", "", ""), proof: func(x *trial) {
		h := x.healthyTrio()
		x.awaitOnly(front, "one", "two", "three")
		x.order("set server b/two state maint")
		x.awaitOnly(front, "one", "three")
		before := len(h[1].questions())
		h[0].awaitQuestions(5)
		if n := len(h[1].questions()); n > before+1 {
			x.Errorf("a server in maintenance was checked %d times", n-before)
		}
		x.order("set server b/two state ready")
		x.awaitOnly(front, "one", "two", "three")
	}},
	{name: "drain: checks go on, and decide afterwards", lb: checkedTrio("", "", "", ""), proof: func(x *trial) {
		h := x.healthyTrio()
		x.awaitOnly(front, "one", "two", "three")
		x.order("set server b/two state drain")
		x.awaitOnly(front, "one", "three")
		h[1].answer(503)
		h[1].awaitQuestions(4)
		x.order("set server b/two state ready")
		if got := x.share(front, 20); got["two"] > 0 || got[""] > 0 {
			x.Errorf("20 connections: %v", got)
		}
		h[1].answer(200)
		x.awaitOnly(front, "one", "two", "three")
	}},
	{name: "disable and enable a server", lb: trioOf("", "", "", ""), proof: func(x *trial) {
		x.trio()
		x.order("disable server b/one")
		x.awaitOnly(front, "two", "three")
		x.order("enable server b/one")
		x.awaitOnly(front, "one", "two", "three")
	}},
	{name: "drain of the last server closes", lb: serving(front, "one"), proof: func(x *trial) {
		x.trio()
		x.awaitOnly(front, "one")
		x.order("set server b/one state drain")
		x.await("closed", func() bool { return x.who(front) == "" })
	}},
	{name: "drain of the last server leaves it to the backup", lb: trioOf("", "", ", backup: true", ", backup: true, weight: 0"), proof: func(x *trial) {
		x.trio()
		x.awaitOnly(front, "one")
		x.order("set server b/one state drain")
		x.awaitOnly(front, "two")
	}},
	{name: "set weight", lb: trioOf("", ", weight: 10", ", weight: 10", ", weight: 10"), proof: func(x *trial) {
		x.trio()
		x.order("set server b/one weight 0")
		x.awaitOnly(front, "two", "three")
		x.order("set server b/one weight 20")
		x.awaitOnly(front, "one", "two", "three")
		x.shares(40, 20, 10, 10)
		x.order("set weight b/one 100%")
		x.share(front, 12) // what was spread by the weights before
		x.shares(30, 10, 10, 10)
	}},
	{name: "get weight", lb: trioOf("", ", weight: 10", "", ""), proof: func(x *trial) {
		x.order("set weight b/one 5")
		if answer, err := x.ask("get weight b/one"); err != nil || !strings.Contains(answer, "5 (initial 10)") {
			x.Errorf("%q, %v", answer, err)
		}
	}},
	{name: "shutdown sessions of a server", lb: trioOf("", "", "", ""), proof: func(x *trial) {
		x.trio()
		held := x.hold(6)
		x.order("shutdown sessions server b/two")
		for _, c := range held["two"] {
			c.closed()
		}
		for _, name := range []string{"one", "three"} {
			for _, c := range held[name] {
				c.echo("alive")
			}
		}
	}},
	{name: "disable a frontend, its tunnels live on", lb: serving(front, "one"), proof: func(x *trial) {
		x.trio()
		c := x.dial(front)
		c.expect("one\n")
		x.order("disable frontend f")
		if who := x.pausedWho(); who != "" {
			x.Errorf("served by %q", who)
		}
		c.echo("alive")
		x.order("enable frontend f")
		x.awaitOnly(front, "one")
	}},
	{name: "show stat counts", lb: trioOf("", "", "", ""), proof: func(x *trial) {
		x.trio()
		held := x.hold(6)
		for _, c := range held["two"] {
			x.must(c.Close())
		}
		x.await("what show stat says", func() bool {
			f, b, s1, s2 := x.stat("f", "FRONTEND"), x.stat("b", "BACKEND"), x.stat("b", "one"), x.stat("b", "two")
			return f["scur"] == "4" && f["stot"] == "6" && b["scur"] == "4" && b["stot"] == "6" &&
				s1["scur"] == "2" && s1["smax"] == "2" && s1["stot"] == "2" && s2["scur"] == "0" && s2["stot"] == "2" && s2["bout"] == "8"
		})
	}},
	{name: "show stat says who is up", lb: checkedTrio("", "", "", ", backup: true"), proof: func(x *trial) {
		h := x.healthyTrio()
		h[1].answer(503)
		x.awaitOnly(front, "one")
		x.order("set server b/three state maint")
		x.await("what show stat says", func() bool {
			s1, s2, s3 := x.stat("b", "one"), x.stat("b", "two"), x.stat("b", "three")
			return s1["status"] == "UP" && s1["check_code"] == "200" && s1["act"] == "1" && s2["status"] == "DOWN" && s2["check_code"] == "503" &&
				s3["status"] == "MAINT" && s3["bck"] == "1"
		})
		x.order("set server b/one state drain")
		x.await("drain in show stat", func() bool { return strings.HasPrefix(x.stat("b", "one")["status"], "DRAIN") })
	}},
	{name: "show stat of a queue", lb: limited(1, "1m"), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.dial(front).expect("one\n")
		for range 3 {
			x.dial(front)
		}
		x.await("three in the queue", func() bool {
			b, s := x.stat("b", "BACKEND"), x.stat("b", "one")
			return b["qcur"] == "3" || s["qcur"] == "3"
		})
	}},
	{name: "an order to nobody is refused", lb: serving(front, "one"), proof: func(x *trial) {
		x.trio()
		for _, order := range []string{"set server b/nobody state drain", "set server nowhere/one state drain", "set server b/one state asleep", "set server b/one weight 1000", "no such order"} {
			if answer, err := x.ask(order); err != nil || strings.TrimSpace(answer) == "" {
				x.Errorf("%s: %q, %v; want that it is refused", order, answer, err)
			}
		}
		x.awaitOnly(front, "one")
	}},
	{
		name: "drain is kept over a reload", lb: trioOf("", "", "", ""),
		proof: func(x *trial) {
			x.drainAndReload()
			x.shares(20, 10, 0, 10)
		},
		differs: "a person's order should not be undone by a node that is added; HAProxy forgets it unless a file of states is loaded",
		theirs: func(x *trial) {
			x.drainAndReload()
			x.awaitOnly(front, "one", "two", "three")
		},
	},
}

// withdrawn proves that a server in a state takes no new connection, keeps those it has, and comes back.
func withdrawn(state string) func(x *trial) {
	return func(x *trial) {
		x.trio()
		held := x.hold(6)
		x.order("set server b/two state " + state)
		x.awaitOnly(front, "one", "three")
		for _, c := range held["two"] {
			c.echo("alive")
		}
		x.order("set server b/two state ready")
		x.awaitOnly(front, "one", "two", "three")
	}
}

func (x *trial) drainAndReload() {
	x.Helper()
	x.trio()
	x.order("set server b/two state drain")
	x.awaitOnly(front, "one", "three")
	x.reload(trioOf("", ", weight: 2", ", weight: 2", ", weight: 2"))
}

// pausedWho is the name of the server that a disabled frontend leads to within a second; empty: none.
func (x *trial) pausedWho() string {
	x.Helper()
	c, err := x.tryFrom("", front)
	if err != nil {
		return "" // refused: HAProxy does not even listen
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	return c.who()
}

// stat is a row of show stat by the names of its columns.
func (x *trial) stat(proxy, service string) map[string]string {
	x.Helper()
	answer, err := x.ask("show stat")
	x.must(err)
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(strings.TrimSpace(answer), "# ")))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		x.Fatalf("show stat: %v\n%s", err, answer)
	}
	for _, row := range rows[1:] {
		if len(row) < 2 || row[0] != proxy || row[1] != service {
			continue
		}
		fields := map[string]string{}
		for i, value := range row {
			if i < len(rows[0]) {
				fields[rows[0][i]] = value
			}
		}
		return fields
	}
	return nil
}
