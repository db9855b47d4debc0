package http

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/socket"
	"helperd/timeline"
)

// Caps on open connections.
const (
	maxConnections = 8192
	// maxStrangers leaves room for the machines of the plan, whoever else comes.
	maxStrangers = maxConnections - 1024
	maxPerClient = 256
)

// Why an address gets no further connection.
const (
	fullOfOne = "this address has 256 connections open; close some"
	fullOfAll = "all connections for machines that are no nodes are taken; see who holds them: ss -tn"
)

// listener accepts within the caps, so that one client cannot take every
// descriptor, and speaks TLS where the state wants that.
type listener struct {
	*net.TCPListener
	service *Service
	socket  *socket.Socket
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	s := l.service
	for {
		tcp, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		addr := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("") // as the plan writes it
		st := s.state.Load()
		if err := s.clients.Enter(addr, st.known(addr)); err != nil {
			_ = tcp.SetLinger(0) // no TIME_WAIT for a flood
			_ = tcp.Close()
			s.refused(addr, err)
			continue
		}
		c := &conn{TCPConn: tcp, addr: addr, leave: sync.OnceFunc(func() { s.clients.Leave(addr) })}
		if st.certificate != nil && st.secure[l.socket] {
			c.secure = true
			c.hurry()
			return tls.Server(c, s.tls), nil
		}
		return c, nil
	}
}

// refused tells that a got no connection. When all are taken there is one event
// for everybody: thousands of addresses must not push out what happened to nodes.
func (s *Service) refused(a netip.Addr, why error) {
	s.count.refused.Add(1)
	e := timeline.Event{Kind: timeline.HTTPFailed, Addr: a, Detail: fullOfOne}
	if errors.Is(why, socket.ErrFull) {
		e.Detail = fullOfAll
		if !s.state.Load().known(a) {
			e.Addr = netip.Addr{}
		}
	}
	s.host.Events.Emit(e)
}

// conn is a counted connection. The embedded ReadFrom keeps sendfile.
type conn struct {
	*net.TCPConn
	addr   netip.Addr // of the client
	secure bool       // TLS is spoken on it
	leave  func()

	// What follows belongs to the goroutine that answers.
	deadline time.Time // of writes
	held     []byte    // the first piece of an answer, of which more is to come
	rest     int       // bytes of the body that are not written yet; 0: nothing is held
	more     bool      // the next write is a header, and a file follows it
}

// connKey is where the context of a request has its connection.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.leave()
	return c.TCPConn.Close()
}

// within makes d from now the deadline of what is written next. One that is
// nearly as far is left alone: setting it costs as much as looking a file up.
func (c *conn) within(d time.Duration) {
	now := time.Now()
	if left := c.deadline.Sub(now); left <= d && left > d/2 {
		return
	}
	c.deadline = now.Add(d)
	_ = c.SetWriteDeadline(c.deadline) // fails for a closed connection, which the write shows
}

// unsent in bytes is what waits in the kernel of a TLS connection, at most.
const unsent = 64 << 10

// hurry keeps the kernel from taking megabytes at once: a write over TLS cannot go
// on where a deadline stopped it, and for a slow client it would take longer than one may.
func (c *conn) hurry() {
	raw, err := c.SyscallConn()
	if err != nil {
		return // it is closed, which the handshake shows
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) // without it only slow clients are the worse
	})
}

// gather makes header and body of the next answer, whose body has n bytes,
// leave at once, though net/http writes them in two pieces. A second packet
// costs more than all else that is done for a small file.
func (c *conn) gather(n int) {
	if !c.secure {
		c.rest = n
	}
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if c.more {
		c.more = false
		return c.writeMore(p)
	}
	if c.rest == 0 {
		return c.TCPConn.Write(p)
	}
	body := len(p)
	if len(c.held) == 0 {
		end := bytes.Index(p, []byte("\r\n\r\n"))
		if end < 0 {
			c.rest = 0
			return c.TCPConn.Write(p)
		}
		body -= end + 4
	}
	if c.rest -= body; c.rest > 0 {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	c.rest = 0
	if len(c.held) == 0 {
		return c.TCPConn.Write(p)
	}
	pieces := net.Buffers{c.held, p}
	n, err := pieces.WriteTo(c.TCPConn)
	n -= int64(len(c.held))
	c.held = c.held[:0]
	return int(max(n, 0)), err
}

// writeMore writes p and lets the kernel wait for what follows, so that a header
// is no packet of its own.
func (c *conn) writeMore(p []byte) (total int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	for total < len(p) {
		var n int
		var failed error
		err := raw.Write(func(fd uintptr) bool {
			n, failed = unix.SendmsgN(int(fd), p[total:], nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			return failed != unix.EAGAIN && failed != unix.EINTR
		})
		if total += max(n, 0); err != nil || failed != nil {
			return total, cmp.Or(err, failed)
		}
	}
	return total, nil
}
