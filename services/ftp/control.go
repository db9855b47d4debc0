package ftp

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"path"
	"strings"
	"time"
)

// maxLine in bytes is the longest command.
const maxLine = 4096

// known are the commands that a read-only, passive server has a use for.
// Those of the library that are not here write, open connections to where the client
// says, or leak a listener when they fail, as PASV after PROT does.
var known = map[string]bool{
	"USER": true, "PASS": true, "QUIT": true, "NOOP": true, "SYST": true, "FEAT": true, "OPTS": true, "CLNT": true, "STAT": true, "ABOR": true,
	"TYPE": true, "MODE": true, "PWD": true, "XPWD": true, "CWD": true, "XCWD": true, "CDUP": true,
	"PASV": true, "EPSV": true, "RETR": true, "REST": true, "SIZE": true, "MDTM": true,
	"LIST": true, "NLST": true, "MLSD": true, "MLST": true,
}

// refusal is a command that the library answers by 502, and does nothing for.
const refusal = "CONF\r\n"

// control is the control connection: it passes on the known commands, one line
// at a time, and has deadlines of its own.
type control struct {
	*net.TCPConn
	session *session
	begun   time.Time
	lines   *bufio.Reader
	rest    []byte // of the line that is being passed on
}

func newControl(x *session, conn *net.TCPConn) *control {
	c := &control{TCPConn: conn, session: x, begun: time.Now()}
	c.lines = bufio.NewReaderSize(patient{c}, maxLine)
	return c
}

// Read implements io.Reader. The library calls it in a goroutine that nobody guards.
func (c *control) Read(p []byte) (int, error) {
	return guarded(c.session, func() (int, error) { return c.read(p) })
}

func (c *control) read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		line, err := c.lines.ReadSlice('\n')
		if err != nil {
			return 0, err // also a line that is too long
		}
		if c.rest = pass(line, c.session.local.Is6()); c.sizeOfScript() {
			c.rest = []byte(refusal)
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// pass gives the line if it is for the library, and else one that it refuses.
func pass(line []byte, v6 bool) []byte {
	line = bytes.TrimLeft(line, "\xff\xf4\xf2") // Telnet's interrupt before ABOR (RFC 959 section 4.1.3)
	verb, _ := words(line)
	if !known[verb] || verb == "PASV" && v6 { // PASV has no words for IPv6
		return []byte(refusal)
	}
	return line
}

// words are the command and its argument, as the library takes them.
func words(line []byte) (verb, arg string) {
	verb, arg, _ = strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
	return strings.ToUpper(verb), arg
}

// sizeOfScript reports whether the line asks for the size of what is made when
// it is fetched. The library would say 550, and curl that there is no such file.
func (c *control) sizeOfScript() bool {
	verb, arg := words(c.rest)
	if verb != "SIZE" || c.session.context == nil {
		return false
	}
	if !path.IsAbs(arg) {
		arg = path.Join(c.session.context.Path(), arg)
	}
	_, made, _ := c.session.script(c.session.state.Load(), path.Clean(arg))
	return made
}

// SetDeadline implements net.Conn: the library sets it before it reads a command.
func (c *control) SetDeadline(t time.Time) error {
	if last := c.begun.Add(c.session.login); !c.session.loggedIn.Load() && t.After(last) {
		t = last
	}
	return c.SetReadDeadline(t)
}

// Write implements io.Writer. It has a deadline of its own: the one that the
// library sets before a command is over when a long download ends.
func (c *control) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return 0, err
	}
	return c.TCPConn.Write(p)
}

// patient reads from a control connection, on which nothing is said during a download.
type patient struct{ *control }

// Read implements io.Reader.
func (c patient) Read(p []byte) (int, error) {
	for {
		n, err := c.TCPConn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.session.busy() {
			return n, err
		}
		if err := c.SetReadDeadline(time.Now().Add(c.session.idle)); err != nil {
			return 0, err
		}
	}
}
