package lb

import (
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// endCases are the ways in which a connection ends.
var endCases = []testCase{
	{name: "the client half-closes first", lb: plain, proof: func(x *trial) {
		x.serve(one, func(c *net.TCPConn) {
			b, _ := io.ReadAll(c)
			time.Sleep(300 * time.Millisecond)
			_, _ = io.WriteString(c, strings.Repeat(string(b), 100000))
		})
		c := x.dial(front)
		c.send("question")
		x.must(c.CloseWrite())
		c.expect(strings.Repeat("question", 100000))
		c.end()
	}},
	{name: "the server half-closes first", lb: plain, proof: func(x *trial) {
		got := make(chan string, 1)
		x.serve(one, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "that is all")
			_ = c.CloseWrite()
			b, _ := io.ReadAll(c)
			got <- string(b)
		})
		c := x.dial(front)
		c.expect("that is all")
		c.end()
		time.Sleep(300 * time.Millisecond)
		c.send("and mine")
		x.must(c.CloseWrite())
		if s := receive(x, "the server sees the end", got); s != "and mine" {
			x.Errorf("the server got %q", s)
		}
	}},
	{name: "both sides end", lb: plain, proof: func(x *trial) {
		s := x.serve(one, echo)
		c := x.dial(front)
		c.echo("x")
		x.must(c.CloseWrite())
		c.end()
		x.await("the server's connection ends", func() bool { return s.active() == 0 })
	}},
	{name: "the server closes at once", lb: plain, proof: func(x *trial) {
		x.serve(one, func(*net.TCPConn) {})
		for range 20 {
			x.dial(front).end()
		}
	}},
	{name: "data and the end in one go", lb: plain, proof: func(x *trial) {
		text := strings.Repeat("x", 300000)
		x.serve(one, func(c *net.TCPConn) { _, _ = io.WriteString(c, text) })
		for range 20 {
			c := x.dial(front)
			c.expect(text)
			c.end()
		}
	}},
	{name: "a reset by the client ends the server's connection", lb: plain, proof: func(x *trial) {
		s := x.serve(one, named("one"))
		c := x.dial(front)
		c.who()
		reset(c.TCPConn)
		x.await("the server's connection ends", func() bool { return s.active() == 0 })
	}},
	{name: "a reset by the client reaches the server as one", lb: plain, proof: func(x *trial) {
		read := make(chan error, 1)
		x.serve(one, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "one\n")
			_, err := io.Copy(io.Discard, c)
			read <- err
		})
		c := x.dial(front)
		c.who()
		reset(c.TCPConn)
		if err := receive(x, "the server sees the end", read); !errors.Is(err, unix.ECONNRESET) {
			x.Errorf("the server read %v, want a reset", err)
		}
	}},
	{
		name: "a reset by the server reaches the client as one", lb: plain,
		proof: func(x *trial) {
			x.serve(one, resetAfter("hello"))
			c := x.dial(front)
			c.expect("hello")
			c.broken()
		},
		differs: "a client should not take what was broken off for complete",
		theirs: func(x *trial) {
			x.serve(one, resetAfter("hello"))
			c := x.dial(front)
			c.expect("hello")
			c.end()
		},
	},
	{name: "data before a reset arrives", lb: plain, proof: func(x *trial) {
		text := strings.Repeat("data", 5000)
		x.serve(one, resetAfter(text))
		for range 20 {
			x.dial(front).expect(text)
		}
	}},
	{name: "a client that leaves ends the server's flood", lb: plain, proof: func(x *trial) {
		s := x.serve(one, func(c *net.TCPConn) {
			for {
				if _, err := c.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		})
		c := x.dial(front)
		c.expect(strings.Repeat("\x00", 1<<20))
		x.must(c.Close())
		x.await("the server stops", func() bool { return s.active() == 0 })
	}},
}

// resetAfter sends a text and, when the client has had time to get it, a reset.
func resetAfter(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		_, _ = io.WriteString(c, text)
		time.Sleep(100 * time.Millisecond)
		reset(c)
	}
}
