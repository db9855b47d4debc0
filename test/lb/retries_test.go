package lb

import (
	"strings"
	"time"
)

// pair is a frontend with two servers that are not checked, and settings of the balancer.
func pair(settings string) string {
	return settings + strings.TrimPrefix(checked("type: none"), "\nretries: 0")
}

var retryCases = []testCase{
	{name: "a server that refuses is passed over", lb: pair("retries: 3"), proof: func(x *trial) {
		x.serve(two, named("two"))
		for range 10 {
			if who := x.who(front); who != "two" {
				x.Fatalf("served by %q", who)
			}
		}
	}},
	{name: "two of three that refuse are passed over", lb: "retries: 3" + trioOf("", "", "", ""), proof: func(x *trial) {
		x.serve(three, named("three"))
		for range 9 {
			if who := x.who(front); who != "three" {
				x.Fatalf("served by %q", who)
			}
		}
	}},
	{name: "source goes elsewhere while its server refuses", lb: "retries: 3" + trioOf("balance: source", "", "", ""), proof: func(x *trial) {
		x.serve(two, named("two"))
		x.serve(three, named("three"))
		for _, from := range clients(12) {
			if who := x.whoFrom(from, front); who == "" {
				x.Errorf("%s was closed", from)
			}
		}
	}},
	{name: "without retries a refusal closes", lb: pair("retries: 0"), proof: func(x *trial) {
		x.serve(two, named("two"))
		if got := x.share(front, 20); got["two"] != 10 || got[""] != 10 {
			x.Errorf("20 connections: %v, want half of them closed", got)
		}
	}},
	{name: "when all refuse the client is closed", lb: pair("retries: 2"), proof: func(x *trial) {
		for range 3 {
			x.dial(front).closed()
		}
	}},
	{name: "a server that is switched off is passed over", lb: pair("retries: 3\ntimeouts: {connect: 500ms}"), proof: func(x *trial) {
		x.blackhole(one)
		x.serve(two, named("two"))
		for range 6 {
			if who := x.who(front); who != "two" {
				x.Fatalf("served by %q", who)
			}
		}
	}},
	{name: "when all are switched off the client is closed in time", lb: pair("retries: 1\ntimeouts: {connect: 500ms}"), proof: func(x *trial) {
		x.blackhole(one)
		x.blackhole(two)
		began := time.Now()
		x.dial(front).closed()
		x.within("closed", began, 900*time.Millisecond)
	}},
	{name: "a server that comes up late is found by a retry", lb: strings.Replace(plain, "\n", "retries: 5\n", 1), proof: func(x *trial) {
		c := x.dial(front)
		c.send("patient")
		c.waits(500 * time.Millisecond)
		x.serve(one, echo)
		c.expect("patient")
	}},
	{name: "without a server that is up the client is closed at once", lb: checkedTrio("", "", "", ""), proof: func(x *trial) {
		health := x.healthyTrio()
		x.awaitOnly(front, "one", "two", "three")
		for _, h := range health {
			h.answer(503)
		}
		x.await("closed", func() bool {
			began := time.Now()
			return x.who(front) == "" && time.Since(began) < 200*time.Millisecond
		})
	}},
}
