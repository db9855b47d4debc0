package socket

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// open binds the shards of a socket.
func open(k Key, o Options) ([]int, error) {
	shards := max(o.Shards, 1)
	if shards > 1 {
		// With SO_REUSEPORT a second bind by the same user succeeds silently and
		// takes half of the packets: look for a holder without it first.
		probe, err := openOne(k, o, false)
		if err != nil {
			return nil, err
		}
		_ = unix.Close(probe)
	}
	var fds []int
	for range shards {
		fd, err := openOne(k, o, shards > 1)
		if err != nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func openOne(k Key, o Options, reusePort bool) (fd int, err error) {
	family, addr := sockaddr(k.Addr)
	kind, proto := unix.SOCK_DGRAM, unix.IPPROTO_UDP
	if k.Network == "tcp" {
		kind, proto = unix.SOCK_STREAM, unix.IPPROTO_TCP // never MPTCP: Landlock does not see it
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err := setOptions(fd, family, k, o, reusePort); err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, addr); err != nil {
		return -1, err
	}
	if k.Network == "tcp" {
		// somaxconn of the kernel caps the backlog.
		if err := unix.Listen(fd, 65535); err != nil {
			return -1, err
		}
	}
	return fd, nil
}

func setOptions(fd, family int, k Key, o Options, reusePort bool) error {
	set := func(level, opt int) error { return unix.SetsockoptInt(fd, level, opt, 1) }
	if k.Network == "tcp" {
		// Lets a restarted daemon bind while old connections are in TIME_WAIT. Not for
		// UDP, where it would let a second server share the port.
		if err := set(unix.SOL_SOCKET, unix.SO_REUSEADDR); err != nil {
			return err
		}
	}
	if reusePort {
		if err := set(unix.SOL_SOCKET, unix.SO_REUSEPORT); err != nil {
			return err
		}
	}
	// The address may come later than the daemon, or move.
	if family == unix.AF_INET6 {
		if err := set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err != nil {
			return err
		}
		if err := set(unix.SOL_IPV6, unix.IPV6_FREEBIND); err != nil {
			return err
		}
	} else if err := set(unix.SOL_IP, unix.IP_FREEBIND); err != nil {
		return err
	}
	if k.Device != "" {
		if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, k.Device); err != nil {
			return err
		}
	}
	setLater(fd, o)
	return nil
}

// setLater sets what may change while a socket is in use.
func setLater(fd int, o Options) {
	if o.Broadcast {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1) // cannot fail for a datagram socket
	}
	if o.Buffer > 0 {
		// FORCE needs CAP_NET_ADMIN; without it the kernel caps the size at net.core.rmem_max.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, o.Buffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.Buffer)
		}
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, o.Buffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, o.Buffer)
		}
	}
}

func sockaddr(a netip.AddrPort) (family int, sa unix.Sockaddr) {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	sa6 := &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
	if ifi, err := net.InterfaceByName(ip.Zone()); ip.Zone() != "" && err == nil {
		sa6.ZoneId = uint32(ifi.Index)
	}
	return unix.AF_INET6, sa6
}

// PacketConns gives one net.UDPConn a shard, each on a duplicate of the
// descriptor: the caller closes them, the table keeps the socket.
func (s *Socket) PacketConns() ([]*net.UDPConn, error) {
	return duplicates(s, func(f *os.File) (*net.UDPConn, error) {
		c, err := net.FilePacketConn(f)
		if err != nil {
			return nil, err
		}
		return c.(*net.UDPConn), nil
	})
}

// Listeners gives one net.TCPListener a shard, each on a duplicate of the
// descriptor: closing one stops its Accept and leaves the socket, and what is
// queued in it, to the table.
func (s *Socket) Listeners() ([]*net.TCPListener, error) {
	return duplicates(s, func(f *os.File) (*net.TCPListener, error) {
		l, err := net.FileListener(f)
		if err != nil {
			return nil, err
		}
		return l.(*net.TCPListener), nil
	})
}

func duplicates[T io.Closer](s *Socket, wrap func(*os.File) (T, error)) (out []T, err error) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	if s.fds == nil {
		return nil, fmt.Errorf("%s: not bound", s.Key)
	}
	defer func() {
		if err != nil {
			for _, c := range out {
				_ = c.Close()
			}
			out = nil
		}
	}()
	for _, fd := range s.fds {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return out, fmt.Errorf("duplicate %s: %w", s.Key, err)
		}
		f := os.NewFile(uintptr(dup), s.Key.String())
		c, err := wrap(f)
		_ = f.Close() // wrap made a duplicate of its own
		if err != nil {
			return out, fmt.Errorf("use %s: %w", s.Key, err)
		}
		out = append(out, c)
	}
	return out, nil
}
