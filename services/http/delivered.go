package http

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errBrokeOff ends a download whose client reset the connection.
var errBrokeOff = errors.New("the client closed the connection")

// delivered waits until the client has acknowledged all that was written: the
// kernel takes megabytes that may never arrive.
func (x *exchange) delivered() error {
	err := x.acknowledged(0)
	x.w.failed(err)
	return err
}

// acknowledged waits until the client has confirmed all that was written, for at
// most d; 0: for as long as it confirms more within the stall time.
func (x *exchange) acknowledged(d time.Duration) error {
	raw, err := x.conn.SyscallConn()
	if err != nil {
		return err
	}
	begun := time.Now()
	least, moved := 0, begun
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		left, alive, err := unacknowledged(raw)
		now := time.Now()
		if left < least {
			moved = now
		}
		least = left
		switch {
		case err != nil:
			return err
		case left == 0:
			return nil
		case !alive:
			return errBrokeOff
		case now.Sub(moved) > x.w.stall, d > 0 && now.Sub(begun) > d:
			return errStalled
		}
		time.Sleep(wait)
	}
}

// pending is the number of bytes that were written and that the client has not confirmed.
func (c *conn) pending() int64 {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	left, _, err := unacknowledged(raw)
	if err != nil {
		return 0 // the connection is closed
	}
	return int64(left)
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
