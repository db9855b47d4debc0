package runtimeapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	maxLine    = 16 << 10 // bytes of a line, as HAProxy's buffers
	maxPayload = 1 << 20  // bytes behind "<<" that are passed over
	idleTime   = 10 * time.Second
	maxIdle    = 24 * time.Hour
	linger     = time.Second // for what a client still says after its answer
)

// Severities of syslog(3), as "set severity-output number" shows them.
const (
	failure = 3
	notice  = 5
	info    = 6
)

var severities = map[int]string{failure: "err", notice: "notice", info: "info"}

// A client is one connection.
type client struct {
	server *Server
	conn   *net.UnixConn
	in     *bufio.Reader
	out    *bufio.Writer

	interactive bool
	level       string // admin, operator or user
	severity    string // none, number or string
	idle        time.Duration
	done        bool
}

func newClient(s *Server, conn *net.UnixConn) *client {
	c := &client{server: s, conn: conn, level: "admin", severity: "none", idle: idleTime}
	c.in = bufio.NewReaderSize(conn, maxLine)
	c.out = bufio.NewWriterSize(patient{c}, maxLine)
	return c
}

// patient gives each part of an answer the time that a client may be idle: one
// that reads slowly gets all of it, one that reads nothing is cut.
type patient struct{ *client }

func (p patient) Write(b []byte) (int, error) {
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.idle)); err != nil {
		return 0, err
	}
	return p.conn.Write(b)
}

// serve answers one line, or after prompt any number of them.
func (c *client) serve() {
	for !c.done {
		line, err := c.line()
		if errors.Is(err, bufio.ErrBufferFull) {
			c.fail(fmt.Sprintf("The line is longer than %d bytes.", maxLine))
			_ = c.out.Flush()
			return
		}
		if err != nil {
			return // an unfinished line is no command
		}
		line, payload := strings.CutSuffix(line, "<<")
		if payload && c.skipPayload() != nil {
			return
		}
		if c.answer(line); !c.interactive {
			break
		}
	}
	// Closing with bytes unread would reset the connection before the client has its answer.
	_ = c.conn.CloseWrite()
	_ = c.conn.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.CopyN(io.Discard, c.in, maxPayload)
}

func (c *client) line() (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return "", err
	}
	b, err := c.in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// skipPayload passes over lines to an empty one: no command here takes a payload.
func (c *client) skipPayload() error {
	for n := 0; n < maxPayload; {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "" {
			return nil
		}
		n += len(line)
	}
	return errors.New("payload too long")
}

// answer executes the commands of a line. Each answer ends with an empty line, and
// with a prompt when somebody types.
func (c *client) answer(line string) {
	for _, words := range split(line) {
		c.execute(words)
		if c.done {
			return
		}
		if _ = c.out.WriteByte('\n'); c.interactive {
			_, _ = c.out.WriteString("> ")
		}
		if c.out.Flush() != nil { // nobody reads any more: nobody wants the rest
			c.done = true
			return
		}
	}
}

// say writes a message, which has a severity; figures have none.
func (c *client) say(severity int, text string) {
	switch c.severity {
	case "number":
		text = fmt.Sprintf("[%d]: %s", severity, text)
	case "string":
		text = fmt.Sprintf("[%s]: %s", severities[severity], text)
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, _ = c.out.WriteString(text)
}

func (c *client) fail(text string) { c.say(failure, text) }

func (c *client) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

func prompt(c *client, _ []string) { c.interactive = !c.interactive }

func quit(c *client, _ []string) { c.done = true }

// lower gives rights away until the connection ends.
func lower(level string) func(*client, []string) {
	return func(c *client, _ []string) {
		if c.level == "user" && level == "operator" {
			c.fail("Permission denied")
			return
		}
		c.level = level
	}
}

func setSeverity(c *client, args []string) {
	if len(args) == 1 {
		switch args[0] {
		case "none", "number", "string":
			c.severity = args[0]
			return
		}
	}
	c.fail("one of 'none', 'number', 'string' is a required argument")
}

// setTimeout reads seconds, or a number with a unit as in HAProxy's files.
func setTimeout(c *client, args []string) {
	if len(args) == 0 || args[0] != "cli" {
		c.fail("'set timeout' only supports 'cli'.")
		return
	}
	if len(args) < 2 {
		c.fail("Expects an integer value.")
		return
	}
	d, err := parseDelay(args[1])
	if err != nil || d < time.Second {
		c.fail("Invalid timeout value.")
		return
	}
	c.idle = min(d, maxIdle)
}

func parseDelay(s string) (time.Duration, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 15)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}
