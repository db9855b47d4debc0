package tftp

import (
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// port is one transfer's socket, connected to its client (RFC 1350 section 4
// calls it the TID): the kernel drops what strangers send, and a client whose
// port is closed shows as ECONNREFUSED.
type port interface {
	// recv waits for a packet until the given time: os.ErrDeadlineExceeded.
	recv(b []byte, until time.Time) (int, error)
	// send gives up after a second without room: EAGAIN.
	send(m *unix.Msghdr) error
	// interrupt makes recv return, now and from then on.
	interrupt()
	close()
}

// route is how packets come to a client.
type route struct {
	mtu      int // bytes
	overhead int // bytes of IP, UDP and TFTP before the data
}

// largest is the largest block in bytes that arrives in one piece where a link
// on the way carries mtu bytes.
func (r route) largest(mtu int) int { return max(min(r.mtu, mtu)-r.overhead, minBlockSize) }

// openPort opens a socket from a free port of local, the address that the
// client asked, to client.
func openPort(local netip.Addr, client netip.AddrPort, blocking bool) (p port, r route, err error) {
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU
	r.overhead = 20 + 8 + headerLen
	if client.Addr().Is6() {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU
		r.overhead = 40 + 8 + headerLen
	}
	kind := unix.SOCK_DGRAM | unix.SOCK_CLOEXEC
	if !blocking {
		kind |= unix.SOCK_NONBLOCK
	}
	fd, err := unix.Socket(family, kind, unix.IPPROTO_UDP)
	if err != nil {
		return nil, r, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr(netip.AddrPortFrom(local, 0)))); err != nil {
		return nil, r, err
	}
	if err = os.NewSyscallError("connect", unix.Connect(fd, sockaddr(client))); err != nil {
		return nil, r, err
	}
	if r.mtu, err = unix.GetsockoptInt(fd, level, option); err != nil {
		return nil, r, os.NewSyscallError("path mtu", err)
	}
	if !blocking {
		return newPollPort(fd), r, nil
	}
	p, err = newBlockingPort(fd)
	return p, r, err
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	ip := a.Addr()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
	if ifi, err := net.InterfaceByName(ip.Zone()); ip.Zone() != "" && err == nil {
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa
}

const (
	// recvTick is the receive time-out of a blocking socket. One system call a
	// packet does for a deadline that is further away.
	recvTick = 250 * time.Millisecond
	// sendTick is how long a packet may wait for room in a queue that does not
	// move, as of a link that is paused. Then it counts as lost.
	sendTick = time.Second
)

// blockingPort blocks a thread in the kernel. In lock step this halves the time
// per packet and saves a third of the CPU against the network poller; threads
// are not free, so only a bounded number of transfers has one.
type blockingPort struct{ fd int }

func newBlockingPort(fd int) (port, error) {
	for option, tick := range map[int]time.Duration{unix.SO_RCVTIMEO: recvTick, unix.SO_SNDTIMEO: sendTick} {
		tv := unix.NsecToTimeval(int64(tick))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &tv); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	return &blockingPort{fd}, nil
}

func (p *blockingPort) recv(b []byte, until time.Time) (int, error) {
	for {
		if left := time.Until(until); left < recvTick && !p.ready(left) {
			return 0, os.ErrDeadlineExceeded
		}
		n, err := recvmsg(p.fd, b)
		switch err {
		case nil:
			return n, nil
		case unix.EAGAIN, unix.EINTR:
		default:
			return 0, err
		}
	}
}

// ready waits for a packet for less than a tick.
func (p *blockingPort) ready(d time.Duration) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(max(d, 0).Milliseconds())+1)
	return n > 0 || err == unix.EINTR
}

func (p *blockingPort) send(m *unix.Msghdr) error {
	for {
		if err := sendmsg(p.fd, m); err != unix.EINTR {
			return err
		}
	}
}

func (p *blockingPort) interrupt() { _ = unix.Shutdown(p.fd, unix.SHUT_RDWR) }
func (p *blockingPort) close()     { _ = unix.Close(p.fd) }
