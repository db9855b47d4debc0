package lb

import (
	"io"
	"net"
	"time"
)

// timed has timeouts of all, of the frontend and of the backend.
func timed(all, frontend, backend string) string {
	return join(`
timeouts: {%s}
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b, timeouts: {%s}}]
backends:
  - {name: b, check: {type: none}, timeouts: {%s}, servers: [{name: one, address: "127.0.0.11:7000"}]}`, all, frontend, backend)
}

// silence proves that a tunnel without a word is closed after about a second.
func silence(x *trial) {
	s := x.serve(one, echo)
	c := x.dial(front)
	began := time.Now() // before the last word: how long it is on its way counts for nothing
	c.echo("x")
	c.closed()
	x.within("closed", began, 900*time.Millisecond)
	x.must(c.Close())
	x.await("the server's connection ends", func() bool { return s.active() == 0 })
}

// survives proves that a tunnel without a word is open after two seconds.
func survives(x *trial) {
	x.serve(one, echo)
	c := x.dial(front)
	c.echo("x")
	c.waits(2 * time.Second)
	c.echo("y")
}

var timeoutCases = []testCase{
	{name: "client", lb: timed("client: 1s", "", ""), proof: silence},
	{name: "server", lb: timed("server: 1s", "", ""), proof: silence},
	{
		name: "a silent server's connection does not wait for its client", lb: timed("server: 1s", "", ""),
		proof: func(x *trial) {
			s := x.serve(one, echo)
			x.dial(front).closed() // by the balancer; the client itself does not close
			x.await("the server's connection ends", func() bool { return s.active() == 0 })
		},
		differs: "HAProxy takes the timeout for the server's FIN and keeps the tunnel until the client has closed, 4 h by default",
		theirs: func(x *trial) {
			s := x.serve(one, echo)
			x.dial(front).closed()
			time.Sleep(2 * time.Second)
			if n := s.active(); n != 1 {
				x.Errorf("the server has %d connections", n)
			}
		},
	},
	{name: "client of a frontend", lb: timed("", "client: 1s", ""), proof: silence},
	{name: "server of a backend", lb: timed("", "", "server: 1s"), proof: silence},
	{name: "those of a part go before those of all", lb: timed("client: 1s, server: 1s", "client: 1m", "server: 1m"), proof: survives},
	{name: "by default silence is allowed", lb: timed("", "", ""), proof: survives},
	{name: "what the server says keeps the client's time", lb: timed("client: 2s, server: 2s", "", ""), proof: func(x *trial) {
		last := make(chan time.Time, 12)
		x.serve(one, func(c *net.TCPConn) {
			for range 12 {
				time.Sleep(250 * time.Millisecond)
				last <- time.Now()
				if _, err := io.WriteString(c, "tick"); err != nil {
					return
				}
			}
			sink(c)
		})
		c := x.dial(front)
		var began time.Time
		for range 12 {
			began = receive(x, "the server says something", last)
			c.expect("tick")
		}
		c.closed()
		x.within("closed", began, 1900*time.Millisecond)
	}},
	{name: "what the client says keeps the server's time", lb: timed("client: 2s, server: 2s", "", ""), proof: func(x *trial) {
		x.serve(one, sink)
		c := x.dial(front)
		for range 12 {
			c.send("tick")
			c.waits(250 * time.Millisecond)
		}
		c.closed()
	}},
	{name: "after a half-close, too", lb: timed("client: 1s, server: 1s", "", ""), proof: func(x *trial) {
		got := make(chan error, 1)
		x.serve(one, func(c *net.TCPConn) {
			sink(c)
			time.Sleep(5 * time.Second) // the client waits for an answer that does not come
			_, err := c.Write([]byte("late"))
			got <- err
		})
		x.begin()
		began := time.Now()
		c := x.dial(front)
		x.must(c.CloseWrite())
		c.closed()
		x.within("closed", began, 800*time.Millisecond)
		if took := time.Since(began); took > 4500*time.Millisecond {
			x.Errorf("closed after %v only, want 1 s", took)
		}
		receive(x, "the server writes", got)
	}},
	{name: "connect is not counted as silence", lb: pair("retries: 3\ntimeouts: {connect: 2s, client: 1s, server: 1s}"), proof: func(x *trial) {
		x.blackhole(one)
		x.serve(two, named("two"))
		for range 2 {
			if who := x.who(front); who != "two" {
				x.Errorf("served by %q", who)
			}
		}
	}},
}
