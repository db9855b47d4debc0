package lb

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sockets here never block, so the scheduler need not be told of the calls.

func receive(fd int32, p []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), 0, 0, 0)
	return int(n), e
}

// discard takes up to n bytes without copying them.
func discard(fd int32, n int) (int, unix.Errno) {
	k, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_TRUNC, 0, 0)
	return int(k), e
}

func send(fd int32, p []byte) unix.Errno {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	if e == 0 && int(n) < len(p) {
		return unix.ENOBUFS // a message fits into any socket buffer
	}
	return e
}

func sendFile(to, file int32, at int64, n int) (int, unix.Errno) {
	k, _, e := unix.RawSyscall6(unix.SYS_SENDFILE, uintptr(to), uintptr(file), uintptr(unsafe.Pointer(&at)), uintptr(n), 0, 0)
	return int(k), e
}

func closeSocket(fd int32) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func accept(fd int32) (int32, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int32(n), e
}

func setInt(fd int32, level, name int, v int32) {
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&v)), 4, 0)
}

func address(a netip.AddrPort) *unix.RawSockaddrInet4 {
	sa := &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], a.Port())
	return sa
}

// dial begins a connection from an address, whose port the kernel chooses.
func dial(from, to *unix.RawSockaddrInet4) (int32, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if e != 0 {
		return -1, e
	}
	fd := int32(n)
	setInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	setInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if _, _, e = unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(from)), unsafe.Sizeof(*from)); e == 0 {
		_, _, e = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(to)), unsafe.Sizeof(*to))
	}
	if e != 0 && e != unix.EINPROGRESS {
		closeSocket(fd)
		return -1, e
	}
	return fd, 0
}

// A poller is an edge-triggered epoll set.
type poller struct {
	fd     int32
	events [256]unix.EpollEvent
}

func (p *poller) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	p.fd = int32(fd)
	return err
}

func (p *poller) close() { closeSocket(p.fd) }

// add watches fd for everything; its events carry fd and tag.
func (p *poller) add(fd, tag int32) unix.Errno {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: fd, Pad: tag}
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}

// wait gives the events of the next ms milliseconds; none when the time is over, or a
// signal of the Go runtime came. The scheduler is not told, which would cost both CPUs.
func (p *poller) wait(ms int) []unix.EpollEvent {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), uintptr(ms), 0, 0)
	if e != 0 {
		return nil
	}
	return p.events[:n]
}
