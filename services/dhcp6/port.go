package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"helperd/internal/socket"
)

// receiveBuffer holds the first packets of many machines that are switched on at once.
const receiveBuffer = 4 << 20

// groups are what clients and relays send to (RFC 8415 section 7.1).
var groups = []net.IP{dhcpv6.AllDHCPRelayAgentsAndServers, dhcpv6.AllDHCPServers}

// errStale means that the socket of a device is still the one of a former interface of that name.
var errStale = errors.New("socket of the former interface is still open")

// port is one interface with its socket. It is shared by all generations that serve the interface.
type port struct {
	device string
	index  int
	sock   *socket.Socket
	refs   int         // guarded by Service.portsMu
	alive  atomic.Bool // messages are being read
	closed atomic.Bool

	mu   sync.Mutex
	conn *ipv6.PacketConn // nil until the socket is bound
}

// acquire gives the port of a place with one more reference.
func (s *Service) acquire(at place) (*port, error) {
	s.portsMu.Lock()
	defer s.portsMu.Unlock()
	for _, p := range s.ports {
		if p.device == at.device && p.index == at.index {
			p.refs++
			return p, nil
		}
	}
	p := &port{device: at.device, index: at.index, refs: 1}
	var err error
	key := socket.Key{Network: "udp", Addr: netip.AddrPortFrom(netip.IPv6Unspecified(), dhcpv6.DefaultServerPort), Device: at.device}
	if p.sock, err = s.host.Sockets.Acquire(key, socket.Options{Buffer: receiveBuffer}); err != nil {
		return nil, err
	}
	if fds := p.sock.FDs(); len(fds) > 0 {
		// SO_BINDTODEVICE pins the interface that had the name then.
		if index, err := unix.GetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX); err == nil && index != p.index {
			p.close()
			return nil, errStale
		}
	}
	s.ports = append(s.ports, p)
	return p, nil
}

// release gives a reference back; the last one closes the socket.
func (s *Service) release(p *port) {
	s.portsMu.Lock()
	defer s.portsMu.Unlock()
	if p.refs--; p.refs > 0 {
		return
	}
	s.ports = slices.DeleteFunc(s.ports, func(other *port) bool { return other == p })
	p.close()
}

func (p *port) close() {
	p.closed.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.Close()
	}
	p.sock.Release()
}

// connect waits until the socket is bound, joins its groups and gives a way to read it.
func (p *port) connect(ctx context.Context) (*ipv6.PacketConn, error) {
	if err := p.sock.Wait(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		return p.conn, nil
	}
	conns, err := p.sock.PacketConns()
	if err != nil {
		return nil, err
	}
	c := ipv6.NewPacketConn(conns[0])
	if err := p.join(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	p.conn = c
	return c, nil
}

func (p *port) join(c *ipv6.PacketConn) error {
	if err := c.SetControlMessage(ipv6.FlagDst, true); err != nil {
		return fmt.Errorf("ask for destinations on %s: %w", p.device, err)
	}
	for _, g := range groups {
		err := c.JoinGroup(&net.Interface{Index: p.index, Name: p.device}, &net.UDPAddr{IP: g})
		if err != nil && !errors.Is(err, unix.EADDRINUSE) { // the socket was there before this port
			return fmt.Errorf("join %s on %s: %w", g, p.device, err)
		}
	}
	return nil
}

// ended gives the error of reading p, or nil when the reader was told to stop.
func (p *port) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || p.closed.Load() {
		return nil
	}
	return err
}
