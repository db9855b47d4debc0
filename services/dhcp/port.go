package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/socket"
	"helperd/services/dhcp/engine"
	"helperd/services/dhcp/packet"
)

// receiveBuffer holds the first packets of many machines that are switched on
// at once: 208 KiB, the usual default, lose a third of 200 DISCOVERs, and each
// loss costs its machine four seconds.
const receiveBuffer = 4 << 20

// errStale means that the socket of a device is still the one of a former interface of that name.
var errStale = errors.New("socket of the former interface is still open")

// port is one interface with its sockets. It is shared by all generations that serve the interface.
type port struct {
	device string
	index  int
	sock   *socket.Socket
	frames *os.File    // AF_PACKET, to send on the link
	routed *os.File    // raw IP, to send elsewhere
	ears   *os.File    // AF_PACKET, other servers' answers
	arp    *os.File    // AF_PACKET, conflict probes and their answers
	refs   int         // guarded by Service.portsMu
	alive  atomic.Bool // requests are being read
	closed atomic.Bool
	stuck  atomic.Bool // its send buffer stayed full
	losses losses
	// Of Serve alone: when others were looked for last, and what was served then.
	probed    time.Time
	probedFor *engine.Policy

	mu   sync.Mutex
	conn *net.UDPConn // nil until the socket is bound
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
	key := socket.Key{Network: "udp", Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), packet.ServerPort), Device: at.device}
	if p.sock, err = s.host.Sockets.Acquire(key, socket.Options{Buffer: receiveBuffer}); err != nil {
		return nil, err
	}
	if err = p.open(); err != nil {
		p.close()
		return nil, err
	}
	s.ports = append(s.ports, p)
	return p, nil
}

// release gives a reference back; the last one closes the sockets.
func (s *Service) release(p *port) {
	s.portsMu.Lock()
	defer s.portsMu.Unlock()
	if p.refs--; p.refs > 0 {
		return
	}
	s.ports = slices.DeleteFunc(s.ports, func(other *port) bool { return other == p })
	p.close()
}

func (p *port) open() (err error) {
	if fds := p.sock.FDs(); len(fds) > 0 {
		// SO_BINDTODEVICE pins the interface that had the name then.
		if index, err := unix.GetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX); err == nil && index != p.index {
			return errStale
		}
	}
	if p.frames, err = openFrames(); err != nil {
		return err
	}
	if p.routed, err = openRouted(); err != nil {
		return err
	}
	if p.ears, err = openEars(p.index); err != nil {
		return err
	}
	p.arp, err = openARP(p.index)
	return err
}

func (p *port) close() {
	p.closed.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.Close()
	}
	for _, f := range []*os.File{p.frames, p.routed, p.ears, p.arp} {
		if f != nil {
			_ = f.Close()
		}
	}
	p.sock.Release()
}

// connect waits until the UDP socket is bound and gives a way to read it.
func (p *port) connect(ctx context.Context) (*net.UDPConn, error) {
	if err := p.sock.Wait(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		conns, err := p.sock.PacketConns()
		if err != nil {
			return nil, err
		}
		p.conn = conns[0]
	}
	return p.conn, nil
}

// openFrames opens a socket to send frames by.
func openFrames() (*os.File, error) { return openRaw("frames", unix.AF_PACKET, unix.SOCK_DGRAM, 0) }

// openRouted opens a socket to send complete IP packets by. The UDP socket would
// send from the first address of the interface; clients that renew through a
// router take an answer only from the address they asked.
func openRouted() (*os.File, error) {
	return openRaw("raw IP", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
}

// openRaw opens a socket that receives nothing yet.
func openRaw(what string, family, kind, proto int) (*os.File, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("socket for %s: %w: answers to machines without an address need CAP_NET_RAW; start helperd by its systemd unit or as root", what, err)
	}
	if err != nil {
		return nil, fmt.Errorf("socket for %s: %w", what, err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, receiveBuffer) != nil { // needs CAP_NET_ADMIN
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, receiveBuffer) // the kernel caps it
	}
	return os.NewFile(uintptr(fd), "dhcp "+what), nil
}
