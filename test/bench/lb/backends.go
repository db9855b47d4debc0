package lb

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"helperd/internal/netns"
)

// A client sends a request of requestSize bytes, whose first one says what it wants.
const (
	wantAnswer   = 'a' // answerSize bytes
	wantLast     = 'l' // the same, and then a FIN
	wantDownload = 'd' // bytes until the client sends a FIN
	wantUpload   = 'u' // nothing, until the client has sent bytes and a FIN

	requestSize = 128
	answerSize  = 256
)

const (
	bulkFile = 16 << 20 // bytes of the file that is sent again and again
	chunk    = 1 << 20  // bytes of a call
	turn     = 16       // calls before others have their turn
)

// backends are servers at several addresses. Clients that are under way serve them on
// their own thread: between two threads each request would cost two more wake-ups.
type backends struct {
	poller
	mu        sync.Mutex // held by who serves
	clientTag int32      // of the last connection of clients: negative, and another one each time
	addrs     []netip.AddrPort
	listeners map[int32]bool
	conns     []conn  // by descriptor
	again     []int32 // bulk connections that may go on
	file      int32
	buf       [64 << 10]byte
	answer    [answerSize]byte

	live           int          // connections
	sent, received atomic.Int64 // bulk bytes
	stopped        atomic.Bool
	ended          chan struct{}
}

type conn struct {
	tag      int32 // another one with each use of the descriptor: a late event is not for its successor; odd: in use
	mode     byte  // of the bulk, or 0
	writable bool
	readable bool
	stop     bool // the client has sent its FIN
	queued   bool // is in again
	at       int64
}

// newBackends starts servers in ns until the test ends.
func newBackends(t testing.TB, ns *netns.NS, addrs ...netip.AddrPort) *backends {
	t.Helper()
	b := &backends{addrs: addrs, listeners: map[int32]bool{}, ended: make(chan struct{})}
	err := ns.Call(func() error { return b.open() })
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(b.ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		b.serve()
	}()
	t.Cleanup(func() {
		b.stopped.Store(true)
		<-b.ended
	})
	return b
}

func (b *backends) open() (err error) {
	if b.file, err = bulk(); err != nil {
		return err
	}
	if err := b.poller.open(); err != nil {
		return err
	}
	for _, a := range b.addrs {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		setInt(int32(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		setInt(int32(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}); err != nil {
			return fmt.Errorf("bind %s: %w", a, err)
		}
		if err := unix.Listen(fd, 4096); err != nil {
			return err
		}
		if e := b.add(int32(fd), 0); e != 0 {
			return e
		}
		b.listeners[int32(fd)] = true
	}
	return nil
}

// bulk gives a file in memory.
func bulk() (int32, error) {
	fd, err := unix.MemfdCreate("bulk", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, err
	}
	block := make([]byte, bulkFile)
	for i := range block {
		block[i] = byte(i >> 7)
	}
	_, err = unix.Write(fd, block)
	return int32(fd), err
}

// serve serves while there are no clients; they need checks answered all the same.
func (b *backends) serve() {
	for !b.stopped.Load() {
		b.mu.Lock()
		b.each(10, nil)
		b.mu.Unlock()
	}
	for fd := range b.listeners {
		closeSocket(fd)
	}
	for fd := range b.conns {
		if b.conns[fd].tag&1 == 1 {
			b.end(int32(fd))
		}
	}
	closeSocket(b.file)
	b.poller.close()
}

// each serves what comes within ms milliseconds, and calls fn for events of clients. The caller holds mu.
func (b *backends) each(ms int, fn func(fd, tag int32, ev uint32) error) error {
	if len(b.again) > 0 {
		ms = 0
	}
	for _, ev := range b.wait(ms) {
		switch {
		case ev.Pad < 0 && fn != nil:
			if err := fn(ev.Fd, ev.Pad, ev.Events); err != nil {
				return err
			}
		case ev.Pad < 0: // of clients at rest
		case ev.Pad == 0:
			b.accept(ev.Fd)
		case b.conns[ev.Fd].tag == ev.Pad:
			b.event(ev.Fd, ev.Events)
		}
	}
	again := b.again
	b.again = nil
	for _, fd := range again {
		if c := &b.conns[fd]; c.queued {
			c.queued = false
			b.move(fd, c)
		}
	}
	return nil
}

func (b *backends) accept(l int32) {
	for {
		fd, e := accept(l)
		if e != 0 {
			return
		}
		for int(fd) >= len(b.conns) {
			b.conns = append(b.conns, make([]conn, 1024)...)
		}
		c := &b.conns[fd]
		*c = conn{tag: c.tag + 1}
		b.live++
		if b.add(fd, c.tag) != 0 {
			b.end(fd)
		}
	}
}

func (b *backends) end(fd int32) {
	b.conns[fd] = conn{tag: b.conns[fd].tag + 1}
	b.live--
	closeSocket(fd)
}

func (b *backends) event(fd int32, ev uint32) {
	c := &b.conns[fd]
	c.writable = c.writable || ev&unix.EPOLLOUT != 0
	c.readable = c.readable || ev&unix.EPOLLIN != 0
	c.stop = c.stop || ev&unix.EPOLLRDHUP != 0
	switch {
	case ev&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		b.end(fd)
	case c.mode != 0:
		b.move(fd, c)
	case ev&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0:
		b.request(fd, c)
	}
}

// request reads one; there is never more than one of a connection under way.
func (b *backends) request(fd int32, c *conn) {
	n, e := receive(fd, b.buf[:])
	if e == unix.EAGAIN {
		return
	}
	if e != 0 || n == 0 || n < requestSize {
		b.end(fd)
		return
	}
	switch b.buf[0] {
	case wantAnswer:
		if send(fd, b.answer[:]) != 0 || c.stop {
			b.end(fd)
		}
	case wantLast:
		_ = send(fd, b.answer[:])
		b.end(fd)
	case wantUpload, wantDownload:
		c.mode = b.buf[0]
		b.received.Add(int64(n - requestSize))
		b.move(fd, c)
	default:
		b.end(fd)
	}
}

// move does a turn of a bulk transfer.
func (b *backends) move(fd int32, c *conn) {
	for range turn {
		var n int
		var e unix.Errno
		if c.mode == wantUpload {
			n, e = discard(fd, 8*chunk)
			b.received.Add(int64(max(n, 0)))
		} else {
			if c.stop {
				b.end(fd)
				return
			}
			n, e = sendFile(fd, b.file, c.at, int(min(chunk, bulkFile-c.at)))
			n = max(n, 0)
			b.sent.Add(int64(n))
			c.at = (c.at + int64(n)) % bulkFile
		}
		switch {
		case e == unix.EAGAIN:
			return
		case e != 0 || n == 0:
			b.end(fd)
			return
		}
	}
	if !c.queued {
		c.queued = true
		b.again = append(b.again, fd)
	}
}
