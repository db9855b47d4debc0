package ui

import (
	"net"
	"sync"

	"helperd/internal/socket"
)

// listener accepts so many connections in total and of one address, so that no client takes
// the descriptors of the other services.
type listener struct {
	*net.TCPListener
	clients *socket.Caps
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		addr := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if l.clients.Enter(addr, true) != nil {
			_ = c.SetLinger(0) // no TIME_WAIT for a flood
			_ = c.Close()
			continue
		}
		return &conn{TCPConn: c, leave: sync.OnceFunc(func() { l.clients.Leave(addr) })}, nil
	}
}

type conn struct {
	*net.TCPConn
	leave func()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}
