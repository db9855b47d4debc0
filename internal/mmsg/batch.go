package mmsg

import (
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// header is struct mmsghdr; the compiler pads it as C does.
type header struct {
	msg unix.Msghdr
	n   uint32
}

// A Batch holds the buffers of one reader. It must not be used by two
// goroutines at once. The usual turn is Receive, for every message Reply and
// Queue, then Send.
type Batch struct {
	in, out       []header
	inVec, outVec []unix.Iovec
	inBuf, outBuf []byte
	inName        []unix.RawSockaddrInet6 // large enough for IPv4 too
	outName       []unix.RawSockaddrInet6
	inSize        int
	outSize       int
	control       control

	received int
	queued   int
	sent     int // of queued, those the kernel took or refused
	failed   int
	errno    syscall.Errno

	// The method values handed to the poller, made once: a closure a call would be allocated.
	recv, send func(fd uintptr) bool
	sendNow    func(fd uintptr)
}

// New gives a batch of n messages of at most inSize bytes, and as many
// replies of at most outSize bytes.
func New(n, inSize, outSize int) *Batch {
	b := &Batch{
		in: make([]header, n), out: make([]header, n),
		inVec: make([]unix.Iovec, n), outVec: make([]unix.Iovec, n),
		inBuf: make([]byte, n*inSize), outBuf: make([]byte, n*outSize),
		inName: make([]unix.RawSockaddrInet6, n), outName: make([]unix.RawSockaddrInet6, n),
		inSize: inSize, outSize: outSize,
	}
	for i := range n {
		b.inVec[i].Base = &b.inBuf[i*inSize]
		b.inVec[i].SetLen(inSize)
		bind(&b.in[i], &b.inVec[i], &b.inName[i])
		b.outVec[i].Base = &b.outBuf[i*outSize]
		bind(&b.out[i], &b.outVec[i], &b.outName[i])
	}
	b.recv, b.send = b.recvmmsg, b.sendmmsg
	b.sendNow = func(fd uintptr) { b.sendmmsg(fd) }
	return b
}

func bind(h *header, v *unix.Iovec, name *unix.RawSockaddrInet6) {
	h.msg.Iov = v
	h.msg.SetIovlen(1)
	h.msg.Name = (*byte)(unsafe.Pointer(name))
}

// Receive waits until c has datagrams and takes as many as there are and the
// batch holds; what was queued and not sent is forgotten. The error is that of
// a closed connection, a deadline, or recvmmsg(2).
func (b *Batch) Receive(c syscall.RawConn) (int, error) {
	b.received, b.queued = 0, 0
	if err := c.Read(b.recv); err != nil {
		return 0, err
	}
	if b.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", b.errno)
	}
	return b.received, nil
}

func (b *Batch) recvmmsg(fd uintptr) bool {
	for i := range b.in {
		b.in[i].msg.Namelen = unix.SizeofSockaddrInet6
	}
	b.control.expect(b.in)
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), uintptr(len(b.in)), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		b.errno = errno
		if errno == 0 {
			b.received = int(n)
		}
		return errno != unix.EAGAIN
	}
}

// Message is received message i, valid until the next Receive.
func (b *Batch) Message(i int) []byte {
	return b.inBuf[i*b.inSize : i*b.inSize+int(b.in[i].n)]
}

// Truncated reports whether message i was longer than the batch's buffer.
func (b *Batch) Truncated(i int) bool { return b.in[i].msg.Flags&unix.MSG_TRUNC != 0 }

// Peer is the sender of message i. An IPv6 link-local address has no zone.
func (b *Batch) Peer(i int) netip.AddrPort {
	name := &b.inName[i]
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port(&v4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), port(&name.Port))
}

// port reads a port in network order.
func port(p *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(p))
	return uint16(b[0])<<8 | uint16(b[1])
}

// Reply is the buffer that the next Queue or QueueTo sends from, or nil when
// the batch is full and must be sent first.
func (b *Batch) Reply() []byte {
	if b.queued == len(b.out) {
		return nil
	}
	return b.outBuf[b.queued*b.outSize : (b.queued+1)*b.outSize : (b.queued+1)*b.outSize]
}

// Queue makes the first n bytes of Reply the answer to the sender of message i.
func (b *Batch) Queue(i, n int) {
	b.outName[b.queued] = b.inName[i] // with the scope of a link-local sender
	b.answerFrom(i)
	b.queue(n, b.in[i].msg.Namelen)
}

// QueueTo makes the first n bytes of Reply a message to peer. The socket is of peer's family.
func (b *Batch) QueueTo(peer netip.AddrPort, n int) {
	name := &b.outName[b.queued]
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: peer.Addr().As16()}
	p, size := &name.Port, uint32(unix.SizeofSockaddrInet6)
	if peer.Addr().Unmap().Is4() {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		*v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: peer.Addr().Unmap().As4()}
		p, size = &v4.Port, unix.SizeofSockaddrInet4
	}
	raw := (*[2]byte)(unsafe.Pointer(p))
	raw[0], raw[1] = byte(peer.Port()>>8), byte(peer.Port())
	b.out[b.queued].msg.SetControllen(0)
	b.queue(n, size)
}

func (b *Batch) queue(n int, namelen uint32) {
	b.outVec[b.queued].SetLen(n)
	b.out[b.queued].msg.Namelen = namelen
	b.queued++
}

// Queued is the number of messages that Send would send.
func (b *Batch) Queued() int { return b.queued }

// Send sends what was queued, waiting while the send buffer is full, and empties
// the queue. A message that the kernel refuses (a firewall, no route) is
// skipped and counted, so that one peer cannot hold up the others.
func (b *Batch) Send(c syscall.RawConn) (failed int, err error) {
	b.sent, b.failed = 0, 0
	if b.queued > 0 {
		err = c.Write(b.send)
	}
	if err != nil {
		b.failed += b.queued - b.sent
	}
	b.queued = 0
	return b.failed, err
}

// SendWithin is Send that waits for at most d while the send buffer is full.
// The deadline of c is set only then: a timer for each call would wake the
// runtime's poller each time.
func (b *Batch) SendWithin(c Conn, d time.Duration) (failed int, err error) {
	if b.queued == 0 {
		return 0, nil
	}
	raw, err := c.SyscallConn()
	b.sent, b.failed = 0, 0
	if err == nil {
		err = raw.Control(b.sendNow)
	}
	if err == nil && b.sent < b.queued {
		_ = c.SetWriteDeadline(time.Now().Add(d))
		err = raw.Write(b.send)
	}
	b.failed += b.queued - b.sent
	b.queued = 0
	return b.failed, err
}

// SendNow is Send for one who must not wait: what finds the send buffer full is
// not sent, and counted as failed.
func (b *Batch) SendNow(c syscall.RawConn) (failed int, err error) {
	b.sent, b.failed = 0, 0
	if b.queued > 0 {
		err = c.Control(b.sendNow)
	}
	b.failed += b.queued - b.sent
	b.queued = 0
	return b.failed, err
}

// A Conn is a socket whose writing may have a deadline, such as an *os.File.
type Conn interface {
	syscall.Conn
	SetWriteDeadline(time.Time) error
}

func (b *Batch) sendmmsg(fd uintptr) bool {
	for b.sent < b.queued {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[b.sent])), uintptr(b.queued-b.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b.sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default: // it says why the first message was refused; later errors come with the next call
			b.sent++
			b.failed++
		}
	}
	return true
}
