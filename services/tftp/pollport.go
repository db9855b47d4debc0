package tftp

import (
	"cmp"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pollPort waits in Go's network poller: slower than a thread in lock step,
// and as many as there is memory for.
type pollPort struct {
	f   *os.File
	raw syscall.RawConn

	// The call under way, so that none allocates.
	msg           *unix.Msghdr
	buf           []byte
	n             int
	err           error
	onSend, onGet func(fd uintptr) bool

	interrupted atomic.Bool
}

func newPollPort(fd int) port {
	p := &pollPort{f: os.NewFile(uintptr(fd), "tftp transfer")}
	raw, err := p.f.SyscallConn()
	if err != nil {
		// Only a closed file has none.
		panic(err)
	}
	p.raw = raw
	p.onSend = func(fd uintptr) bool {
		p.err = sendmsg(int(fd), p.msg)
		return p.err != unix.EAGAIN && p.err != unix.EINTR
	}
	p.onGet = func(fd uintptr) bool {
		p.n, p.err = recvmsg(int(fd), p.buf)
		return p.err != unix.EAGAIN && p.err != unix.EINTR
	}
	return p
}

func (p *pollPort) recv(b []byte, until time.Time) (int, error) {
	if err := p.f.SetReadDeadline(until); err != nil {
		return 0, err
	}
	if p.interrupted.Load() { // looked at after the deadline is set: interrupt does it the other way round
		return 0, os.ErrDeadlineExceeded
	}
	p.buf = b
	if err := p.raw.Read(p.onGet); err != nil {
		return 0, err
	}
	return p.n, p.err
}

func (p *pollPort) send(m *unix.Msghdr) error {
	p.msg = m
	if err := p.f.SetWriteDeadline(time.Now().Add(sendTick)); err != nil {
		return err
	}
	err := p.raw.Write(p.onSend)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return unix.EAGAIN
	}
	return cmp.Or(err, p.err)
}

func (p *pollPort) interrupt() {
	// A socket that is shut down wakes the poller, and then says EAGAIN for ever.
	p.interrupted.Store(true)
	_ = p.f.SetReadDeadline(time.Unix(1, 0)) // fails for a closed one only
}

func (p *pollPort) close() { _ = p.f.Close() }
