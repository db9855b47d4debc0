package lb

import (
	"io"
	"net"
	"strings"
	"time"
)

// checked is a frontend with two servers, and how they are checked.
func checked(check string) string {
	return join(`
retries: 0
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b}]
backends:
  - name: b
    check: {%s}
    servers: [{name: one, address: "127.0.0.11:7000"}, {name: two, address: "127.0.0.12:7000"}]`, check)
}

// often is five times a second.
const often = "interval: 200ms, timeout: 500ms, fall: 2, rise: 2"

const (
	health1 = "127.0.0.11:7100"
	health2 = "127.0.0.12:7100"
)

// checkCases are what becomes of a server by what its checks find.
var checkCases = []testCase{
	{name: "tcp: a server that refuses is left, and found again", lb: checked("type: tcp, " + often), proof: func(x *trial) {
		s := x.serve(one, named("one"))
		x.serve(two, named("two"))
		x.awaitOnly(front, "one", "two")
		s.kill()
		x.awaitOnly(front, "two")
		s.start()
		x.awaitOnly(front, "one", "two")
	}},
	{name: "http: 503 takes no new connections, open ones live on", lb: checked("type: http, port: 7100, " + often), proof: func(x *trial) {
		h, _ := x.checkedPair()
		open := x.hold(4)["one"]
		h.answer(503)
		x.awaitOnly(front, "two")
		for _, c := range open {
			c.echo("alive")
		}
		h.answer(200)
		x.awaitOnly(front, "one", "two")
		for _, c := range open {
			c.echo("still alive")
		}
	}},
	{name: "http: the status that is asked for counts", lb: checked("type: http, port: 7100, status: 204, " + often), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.serve(two, named("two"))
		a, b := x.health(health1, nil), x.health(health2, nil)
		a.answer(204)
		b.answer(200)
		x.awaitOnly(front, "one")
		b.answer(204)
		x.awaitOnly(front, "one", "two")
	}},
	{name: "http: a redirect is no 200", lb: checked("type: http, port: 7100, " + often), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.serve(two, named("two"))
		x.health(health1, nil)
		x.health(health2, nil).answer(302)
		x.awaitOnly(front, "one")
	}},
	{name: "a server that answers no check is left", lb: checked("type: http, port: 7100, " + often), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.serve(two, named("two"))
		x.health(health1, nil)
		x.serve(health2, sink) // takes the question and says nothing
		x.awaitOnly(front, "one")
	}},
	{name: "a server that closes on a check is left", lb: checked("type: http, port: 7100, " + often), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.serve(two, named("two"))
		x.health(health1, nil)
		x.serve(health2, func(c *net.TCPConn) { lineOf(c) })
		x.awaitOnly(front, "one")
	}},
	{name: "a server that answers nonsense is left", lb: checked("type: http, port: 7100, " + often), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.serve(two, named("two"))
		x.health(health1, nil)
		x.serve(health2, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n200 OK\r\n\r\n")
			sink(c)
		})
		x.awaitOnly(front, "one")
	}},
	{name: "a server whose check answers slowly is left", lb: checked("type: http, port: 7100, " + often), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.serve(two, named("two"))
		x.health(health1, nil)
		x.serve(health2, func(c *net.TCPConn) { // a byte now and then, never all
			for _, b := range []byte("HTTP/1.1 200 OK\r\n") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(150 * time.Millisecond)
			}
		})
		x.awaitOnly(front, "one")
	}},
	{name: "tcp: to accept is enough", lb: checked("type: tcp, port: 7100, " + often), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.serve(two, named("two"))
		x.serve(health1, func(*net.TCPConn) {})
		x.awaitOnly(front, "one")
		time.Sleep(time.Second) // five checks
		x.awaitOnly(front, "one")
	}},
	{name: "no check: a server is up whatever it does", lb: checked("type: none"), proof: func(x *trial) {
		x.serve(one, named("one"))
		if got := x.share(front, 20); got["one"] != 10 || got[""] != 10 {
			x.Errorf("20 connections: %v, want half of them closed", got)
		}
	}},
	{name: "one server without check among others", lb: strings.Replace(checked("type: tcp, port: 7100, "+often), `12:7000"}`, `12:7000", check: false}`, 1), proof: func(x *trial) {
		x.serve(one, named("one"))
		x.serve(two, named("two"))
		x.awaitOnly(front, "two")
		x.health(health1, nil)
		x.awaitOnly(front, "one", "two")
	}},
	{
		name: "a dead server's connections are closed", lb: checked("type: tcp, port: 7100, " + often),
		proof: func(x *trial) {
			c, h := deadServer(x)
			h.stop()
			c.closed()
		},
		differs: "HAProxy leaves them to the timeouts unless on-marked-down says otherwise, and that closes those of a server that is merely not ready, too",
		theirs: func(x *trial) {
			c, h := deadServer(x)
			h.stop()
			x.awaitOnly(front, "two")
			c.echo("alive")
		},
	},
}

// checkedPair starts both servers of checked, waits until they are up and gives what answers their checks.
func (x *trial) checkedPair() (h1, h2 *health) {
	x.Helper()
	x.serve(one, named("one"))
	x.serve(two, named("two"))
	h1, h2 = x.health(health1, nil), x.health(health2, nil)
	x.awaitOnly(front, "one", "two")
	return h1, h2
}

// deadServer gives a connection of server one and what answers its checks.
func deadServer(x *trial) (*client, *health) {
	h, _ := x.checkedPair()
	return x.hold(4)["one"][0], h
}
