package lb

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// self is where clients of IPv4 come from unless they say otherwise.
	self = "127.0.0.99"
	// outsider is outside of every network of the file.
	outsider = "127.255.255.9"
)

// A client is a connection to the balancer. Reads and writes fail the trial after patience.
type client struct {
	*net.TCPConn
	x *trial
}

// dial connects to the balancer.
func (x *trial) dial(addr string) *client {
	x.Helper()
	return x.dialFrom("", addr)
}

// dialFrom connects from an address of this machine.
func (x *trial) dialFrom(from, addr string) *client {
	x.Helper()
	c, err := x.tryFrom(from, addr)
	x.must(err)
	return c
}

func (x *trial) tryFrom(from, addr string) (*client, error) {
	x.begin()
	d := net.Dialer{Timeout: patience}
	if from == "" && !strings.HasPrefix(addr, "[") {
		from = self
	}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(x.at(from))}
	}
	c, err := d.Dial("tcp", x.at(addr))
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	x.Cleanup(func() { _ = c.Close() })
	return &client{c.(*net.TCPConn), x}, nil
}

// send writes all of s.
func (c *client) send(s string) {
	c.x.Helper()
	_, err := io.WriteString(c, s)
	c.x.must(err)
}

// expect reads exactly want.
func (c *client) expect(want string) {
	c.x.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		c.x.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// echo sends s and expects it back.
func (c *client) echo(s string) {
	c.x.Helper()
	c.send(s)
	c.expect(s)
}

// who is the name that the server says first; empty: the connection ended.
func (c *client) who() string { return strings.TrimSuffix(lineOf(c), "\n") }

// end expects the end of the stream, by FIN.
func (c *client) end() {
	c.x.Helper()
	rest, err := io.ReadAll(c)
	if err != nil || len(rest) > 0 {
		c.x.Fatalf("read %q, %v; want the end", rest, err)
	}
}

// broken expects a reset.
func (c *client) broken() {
	c.x.Helper()
	if rest, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) || len(rest) > 0 {
		c.x.Fatalf("read %q, %v; want a reset", rest, err)
	}
}

// closed expects that the balancer closes, by FIN or RST, and that no byte comes before.
func (c *client) closed() {
	c.x.Helper()
	rest, err := io.ReadAll(c)
	if len(rest) > 0 || err != nil && !errors.Is(err, unix.ECONNRESET) {
		c.x.Fatalf("read %q, %v; want it closed", rest, err)
	}
}

// waits expects that nothing comes for a while, and that the connection is open.
func (c *client) waits(d time.Duration) {
	c.x.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	b := make([]byte, 64)
	if n, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.x.Fatalf("read %q, %v; want that it waits", b[:n], err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

// who connects and gives the name of the server; empty: refused or closed. To
// be neither served nor closed fails the trial.
func (x *trial) who(addr string) string {
	x.Helper()
	return x.whoFrom("", addr)
}

func (x *trial) whoFrom(from, addr string) string {
	x.Helper()
	c, err := x.tryFrom(from, addr)
	if err != nil {
		return ""
	}
	defer c.Close()
	line, err := readLine(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		x.Fatalf("a client of %s is neither served nor closed after %v", addr, patience)
	}
	return strings.TrimSuffix(line, "\n")
}

// share counts which servers n connections get, one after the other.
func (x *trial) share(addr string, n int) map[string]int {
	x.Helper()
	got := map[string]int{}
	for range n {
		got[x.who(addr)]++
	}
	return got
}

// awaitOnly waits until only the named servers take connections, all of them, twenty times in a row.
func (x *trial) awaitOnly(addr string, names ...string) {
	x.Helper()
	var got map[string]int
	defer func() {
		if x.Failed() {
			x.Logf("the last 20 connections went to %v", got)
		}
	}()
	x.await("only "+strings.Join(names, ", ")+" at "+addr, func() bool {
		if got = x.share(addr, 20); len(got) != len(names) {
			return false
		}
		for _, n := range names {
			if got[n] == 0 {
				return false
			}
		}
		return true
	})
}

// ask sends a command to the runtime API and gives the answer.
func (x *trial) ask(command string) (string, error) {
	x.begin()
	return x.runtime(command)
}

func (x *trial) runtime(command string) (string, error) {
	c, err := net.Dial("unix", x.socket())
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, command+"\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// order sends a command that says nothing when it succeeds.
func (x *trial) order(command string) {
	x.Helper()
	answer, err := x.ask(command)
	if err != nil || strings.TrimSpace(answer) != "" {
		x.Fatalf("%s: %q, %v", command, answer, err)
	}
}
