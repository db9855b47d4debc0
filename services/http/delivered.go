package http

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errBrokeOff ends a download whose client reset the connection.
var errBrokeOff = errors.New("the client closed the connection")

// connKey is where the context of a request has its connection.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// delivered waits until the client has acknowledged all that was written: the
// kernel takes megabytes that may never arrive. It does not count what did not arrive.
func (x *exchange) delivered() error {
	c, ok := x.r.Context().Value(connKey{}).(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	least, moved := 0, time.Now()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		left, alive, err := unacknowledged(raw)
		if left < least {
			moved = time.Now()
		}
		least = left
		switch {
		case err != nil:
		case left == 0:
			return nil
		case !alive:
			err = errBrokeOff
		case time.Since(moved) > x.w.stall:
			err = errStalled
		default:
			time.Sleep(wait)
			continue
		}
		x.w.sent = max(x.w.sent-int64(left), 0)
		x.w.failed(err)
		return err
	}
}

// unacknowledged is the number of bytes that the client has not confirmed, and
// whether it still may.
func unacknowledged(raw syscall.RawConn) (left int, alive bool, err error) {
	var info *unix.TCPInfo
	var failed error
	err = raw.Control(func(fd uintptr) {
		if info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); failed == nil {
			left, failed = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return 0, false, err
	}
	return left, info.State != unix.BPF_TCP_CLOSE, nil
}
