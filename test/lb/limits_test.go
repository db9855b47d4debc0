package lb

import (
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// limited is a frontend with one server that takes few connections.
func limited(most int, queue string) string {
	return join(`
timeouts: {queue: %s}
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b}]
backends:
  - {name: b, check: {type: none}, servers: [{name: one, address: "127.0.0.11:7000", max_connections: %d}]}`, queue, most)
}

// limitedFront has two frontends, of which the first takes few connections.
const limitedFront = `
frontends:
  - {name: f, listen: "127.0.0.1:7000", backend: b, max_connections: 2}
  - {name: g, listen: "127.0.0.1:7001", backend: b}
backends:
  - {name: b, check: {type: none}, servers: [{name: one, address: "127.0.0.11:7000"}]}`

// rated lets a client open five connections in two seconds.
const rated = `
rate: {connections: 5, per: 2s}
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b}]
backends:
  - {name: b, check: {type: none}, servers: [{name: one, address: "127.0.0.11:7000"}]}`

var limitCases = []testCase{
	{name: "a full server has its clients wait", lb: limited(2, "1m"), proof: func(x *trial) {
		s := x.serve(one, named("one"))
		a, b := x.dial(front), x.dial(front)
		a.expect("one\n")
		b.expect("one\n")
		c := x.dial(front)
		c.waits(700 * time.Millisecond)
		if n := s.total.Load(); n != 2 {
			x.Errorf("the server has %d connections, want 2", n)
		}
		x.must(a.Close())
		c.expect("one\n")
	}},
	{name: "who waits first is served first", lb: limited(1, "1m"), proof: fifo},
	{name: "who waits too long is closed", lb: limited(1, "700ms"), proof: func(x *trial) {
		s := x.serve(one, named("one"))
		x.dial(front).expect("one\n")
		began := time.Now()
		x.dial(front).closed()
		x.within("closed", began, 600*time.Millisecond)
		if n := s.total.Load(); n != 1 {
			x.Errorf("the server saw %d connections, want 1", n)
		}
	}},
	{name: "who resets in the queue leaves it", lb: limited(1, "1m"), proof: leaves(func(c *client) { reset(c.TCPConn) })},
	// A client that gave up looks like one that has no more to say.
	{name: "who closes in the queue leaves it, whatever it said", lb: limited(1, "1m"), proof: leaves(func(c *client) {
		c.x.must(c.CloseWrite())
		c.closed()
	})},
	{name: "what is said in the queue arrives", lb: limited(1, "1m"), proof: func(x *trial) {
		x.serve(one, echo)
		a := x.dial(front)
		a.echo("a")
		b := x.dial(front)
		text := strings.Repeat("said in the queue ", 3000)
		b.send(text)
		b.waits(300 * time.Millisecond)
		x.must(a.Close())
		b.expect(text)
	}},
	{name: "a full server is passed over", lb: trioOf("", ", max_connections: 1", "", ", weight: 0"), proof: func(x *trial) {
		x.trio()
		if got := counts(x.hold(10)); got["one"] != 1 || got["two"] != 9 {
			x.Errorf("10 connections went to %v, want 1 to one and 9 to two", got)
		}
	}},
	{name: "a full frontend has clients wait, and others not", lb: limitedFront, proof: func(x *trial) {
		x.serve(one, named("one"))
		a, b := x.dial(front), x.dial(front)
		a.expect("one\n")
		b.expect("one\n")
		c := x.dial(front)
		c.waits(700 * time.Millisecond)
		for range 5 {
			x.dial("127.0.0.1:7001").expect("one\n")
		}
		c.waits(100 * time.Millisecond)
		x.must(b.Close())
		c.expect("one\n")
	}},
	{name: "the limit in total counts all frontends", lb: "max_connections: 3" + strings.ReplaceAll(limitedFront, ", max_connections: 2", ""), proof: func(x *trial) {
		x.serve(one, named("one"))
		a := x.dial(front)
		a.expect("one\n")
		for range 2 {
			x.dial("127.0.0.1:7001").expect("one\n")
		}
		late, later := x.dial(front), x.dial("127.0.0.1:7001")
		late.waits(500 * time.Millisecond)
		later.waits(500 * time.Millisecond)
		x.must(a.Close())
		served := make(chan string, 2)
		for _, c := range []*client{late, later} {
			go func() { served <- c.who() }()
		}
		if who := receive(x, "one of the two that wait", served); who != "one" {
			x.Errorf("the next was served by %q", who)
		}
		select {
		case who := <-served:
			x.Errorf("a fourth connection was served by %q", who)
		case <-time.After(500 * time.Millisecond):
		}
	}},
	{name: "a client that comes too often is closed", lb: rated, proof: func(x *trial) {
		s := x.serve(one, named("one"))
		served := 0
		for range 20 {
			if x.whoFrom("127.0.0.100", front) == "one" {
				served++
			}
		}
		if served < 5 || served > 7 {
			x.Errorf("%d of 20 connections at once were served, want 5", served)
		}
		if n := int(s.total.Load()); n != served {
			x.Errorf("the server saw %d connections, want %d", n, served)
		}
		if who := x.whoFrom("127.0.0.101", front); who != "one" {
			x.Errorf("another client was served by %q", who)
		}
		x.await("the client is served again", func() bool {
			time.Sleep(2500 * time.Millisecond)
			return x.whoFrom("127.0.0.100", front) == "one"
		})
	}},
	{name: "a slow client is never too often", lb: rated, proof: func(x *trial) {
		x.serve(one, named("one"))
		for range 8 {
			if who := x.whoFrom("127.0.0.100", front); who != "one" {
				x.Fatalf("served by %q", who)
			}
			time.Sleep(600 * time.Millisecond)
		}
	}},
}

// leaves proves that the server never sees a client that leaves the queue.
func leaves(leave func(c *client)) func(x *trial) {
	return func(x *trial) {
		s := x.serve(one, named("one"))
		a := x.dial(front)
		a.expect("one\n")
		b, c := x.dial(front), x.dial(front)
		b.send("question")
		b.waits(300 * time.Millisecond)
		c.waits(300 * time.Millisecond)
		leave(b)
		time.Sleep(300 * time.Millisecond)
		x.must(a.Close())
		c.expect("one\n")
		if n := s.total.Load(); n != 2 {
			x.Errorf("the server saw %d connections, want 2: not that of the client that left", n)
		}
	}
}

// fifo has five clients wait for one place, and the server tell whom it gets.
func fifo(x *trial) {
	came := make(chan string, 8)
	x.serve(one, func(c *net.TCPConn) {
		came <- lineOf(c)
		_, _ = io.Copy(io.Discard, c)
	})
	var clients []*client
	for i := range 6 {
		c := x.dial(front)
		c.send(strconv.Itoa(i) + "\n")
		clients = append(clients, c)
		if i == 0 {
			if s := receive(x, "the first client", came); s != "0\n" {
				x.Fatalf("first came %q", s)
			}
		}
		time.Sleep(150 * time.Millisecond)
	}
	for i := 1; i < len(clients); i++ {
		x.must(clients[i-1].Close())
		if s := receive(x, "the client of the next place", came); s != strconv.Itoa(i)+"\n" {
			x.Errorf("place %d got client %q", i, s)
		}
	}
}
