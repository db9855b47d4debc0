package http

import (
	"net"
	"net/netip"
	"sync"

	"helperd/timeline"
)

// Caps on open connections.
const (
	maxConnections = 8192
	maxPerClient   = 256
)

// clients counts open connections by address.
type clients struct {
	mu      sync.Mutex
	perAddr map[netip.Addr]int
	total   int
}

func newClients() *clients { return &clients{perAddr: map[netip.Addr]int{}} }

// full reports whether a gets no further connection.
func (c *clients) full(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fullLocked(a)
}

func (c *clients) fullLocked(a netip.Addr) bool {
	return c.total >= maxConnections || c.perAddr[a] >= maxPerClient
}

func (c *clients) enter(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fullLocked(a) {
		return false
	}
	c.total++
	c.perAddr[a]++
	return true
}

func (c *clients) leave(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.perAddr[a]--; c.perAddr[a] == 0 {
		delete(c.perAddr, a)
	}
}

func (c *clients) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// listener accepts within the caps, so that one client cannot take every descriptor.
type listener struct {
	*net.TCPListener
	service *Service
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		addr := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		s := l.service
		if s.clients.enter(addr) {
			return &conn{TCPConn: c, leave: sync.OnceFunc(func() { s.clients.leave(addr) })}, nil
		}
		_ = c.SetLinger(0) // no TIME_WAIT for a flood
		_ = c.Close()
		s.count.refused.Add(1)
		s.host.Events.Emit(timeline.Event{Kind: timeline.HTTPFailed, Addr: addr, Detail: "too many open connections from this address; close some"})
	}
}

// conn is a counted connection. The embedded ReadFrom keeps sendfile.
type conn struct {
	*net.TCPConn
	leave func()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.leave()
	return c.TCPConn.Close()
}
