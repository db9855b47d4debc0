package engine

import (
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"helperd/services/tftp/packet"
)

// Port is one transfer's socket, connected to its client (RFC 1350 section 4
// calls it the TID): the kernel drops what strangers send, and a client whose
// port is closed shows as ECONNREFUSED.
type Port interface {
	// recv takes a packet: EAGAIN when none is there.
	recv(b []byte) (int, error)
	// write sends b as one packet, and never waits: EAGAIN when there is no room.
	write(b []byte) error
	// send does so with the parts of m, which may be a train of packets.
	send(m *unix.Msghdr) error
	descriptor() int
	// Close frees the port.
	Close()
}

// Route is how packets come to a client.
type Route struct {
	mtu      int // bytes
	overhead int // bytes of IP, UDP and TFTP before the data
}

// Largest is the largest block in bytes that arrives in one piece where a link
// on the way carries mtu bytes.
func (r Route) Largest(mtu int) int { return max(min(r.mtu, mtu)-r.overhead, packet.MinBlockSize) }

// OpenPort opens a socket from a free port of local, the address that the
// client asked, to client.
func OpenPort(local netip.Addr, client netip.AddrPort) (p Port, r Route, err error) {
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU
	r.overhead = 20 + 8 + packet.HeaderLen
	if client.Addr().Is6() {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU
		r.overhead = 40 + 8 + packet.HeaderLen
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
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
	return udpPort(fd), r, nil
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

// udpPort is a descriptor. Its calls never block, so the scheduler is not told
// of them: that alone is a tenth of the CPU of a transfer in lock step.
type udpPort int

func (p udpPort) recv(b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(p), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func (p udpPort) write(b []byte) error {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(p), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

func (p udpPort) send(m *unix.Msghdr) error {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(p), uintptr(unsafe.Pointer(m)), unix.MSG_NOSIGNAL)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

func (p udpPort) descriptor() int { return int(p) }

// Close implements Port.
func (p udpPort) Close() { _ = unix.Close(int(p)) }
