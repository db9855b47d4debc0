package tftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tries is how often a packet or window is sent again before the client is given up.
	tries = 5
	// longestGap is the longest wait for an answer that the timeout option does not ask for.
	longestGap = 8 * time.Second
	// hesitation is the wait before a window is sent again on a repeated ACK,
	// which may be the echo of a packet that came twice.
	hesitation = 20 * time.Millisecond
)

var (
	errSilent  = errors.New("the client stopped answering")
	errGone    = errors.New("the client closed its port")
	errStopped = errors.New("stopped by the server")
)

// transfer sends one file to one client. One goroutine owns it; others only stop it.
type transfer struct {
	terms
	port port
	out  *sender
	src  content

	acked int64 // blocks that the client has
	sent  int64 // blocks that are on their way or there
	last  int64 // number of the short block that ends the file, counted from 0; -1: not seen yet
	end   int64 // length in bytes, once last is known
	again bool  // this window was or is to be sent again before its time

	stopped atomic.Bool
	started atomic.Bool // the client has answered
	resent  int64       // packets or windows that were sent again
	// progress is called after every ACK that brings the transfer on; nil: nobody asks.
	progress func(t *transfer, now time.Time)

	in [512]byte
}

// bytes that the client has.
func (t *transfer) bytes() int64 {
	n := t.acked * int64(t.block)
	if t.last >= 0 {
		n = min(n, t.end)
	}
	return n
}

// verdict on an ACK.
type verdict int

const (
	ignore  verdict = iota
	resend          // the client lacks what was sent last
	advance         // the client has more than before
)

// run sends everything, or says why not. A client that stops the transfer
// before the first block only asked for the size: a wireError comes back with
// nothing acknowledged.
func (t *transfer) run() error {
	t.last = -1
	if t.oack != nil {
		err := t.exchange(func() error { return t.out.packet(t.oack) }, func(ack uint16) verdict {
			if ack != 0 {
				return ignore
			}
			return advance
		})
		if err != nil {
			return err
		}
	}
	for t.last < 0 || t.acked <= t.last {
		t.again = false
		resent := t.resent
		if err := t.exchange(t.sendWindow, t.judge); err != nil {
			if errors.Is(err, errGone) && t.last >= 0 && t.sent > t.last && t.resent > resent {
				// The port was open for all that was sent first, and is closed for its
				// repetition: only the last ACK was lost. The client has finished, as
				// firmware does that does not dally (RFC 1350 section 6).
				t.acked = t.last + 1
				return nil
			}
			return err
		}
		t.src.passed(t.acked * int64(t.block))
	}
	return nil
}

// exchange sends, and waits until judge finds an ACK that brings the transfer on.
func (t *transfer) exchange(send func() error, judge func(ack uint16) verdict) error {
	for try, repeated := 0, false; try <= tries; repeated = true {
		if repeated {
			t.resent++
		}
		if err := send(); err != nil && !lost(err) {
			return t.broken(err)
		}
		now := time.Now()
		deadline := now.Add(t.gap(try))
		early := false // sending again before the gap has passed, at most once a window, is no try
		// What does not bring the transfer on does not stop the clock either.
		for ; now.Before(deadline); now = time.Now() {
			n, err := t.port.recv(t.in[:], deadline)
			switch {
			case t.stopped.Load():
				return errStopped
			case errors.Is(err, unix.EMSGSIZE) && !t.again:
				t.again, early = true, true
				deadline = now // the kernel knows the path's MTU from here on
				continue
			case errors.Is(err, os.ErrDeadlineExceeded), lost(err), err == nil && n < headerLen:
				continue
			case err != nil:
				return t.broken(err)
			}
			switch binary.BigEndian.Uint16(t.in[:]) {
			case opError:
				return parseError(t.in[:n])
			case opACK:
			default:
				continue
			}
			t.started.Store(true)
			switch judge(binary.BigEndian.Uint16(t.in[2:])) {
			case advance:
				if t.progress != nil {
					t.progress(t, time.Now())
				}
				return nil
			case resend:
				if soon := time.Now().Add(hesitation); soon.Before(deadline) {
					deadline, early = soon, true
				}
			case ignore:
			}
		}
		if !early {
			try++
		}
	}
	return errSilent
}

// gap is the wait after a packet was sent for the try-th time, counted from 0:
// twice the one before, up to what a long timeout option says by itself. Who
// has not answered yet may have forged its address: its place is not kept that long.
func (t *transfer) gap(try int) time.Duration {
	longest := longestGap
	if t.started.Load() {
		longest = max(longest, t.timeout)
	}
	return min(t.timeout<<min(try, 3), longest)
}

// lost reports whether err is as good as a lost packet: a link or a route that
// is away for a moment, a full queue, a packet filter, a path whose MTU has
// shrunk. It comes from sending, or by ICMP from a router.
func lost(err error) bool {
	for _, e := range []error{unix.EAGAIN, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.ENOBUFS, unix.EPERM, unix.EMSGSIZE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// broken names what ends a transfer for good.
func (t *transfer) broken(err error) error {
	switch {
	case t.stopped.Load():
		return errStopped
	case errors.Is(err, unix.ECONNREFUSED):
		return errGone
	}
	return err
}

// judge takes an ACK of DATA. An ACK of a block inside the window means that
// what follows it was lost (RFC 7440 section 4): the next window starts there.
// A repeated ACK is never answered in lock step, where it would double every
// packet to come (RFC 1123 section 4.2.3.1, Sorcerer's Apprentice), and once
// a window otherwise: the window's first block was lost, if nothing better comes
// in a moment. EDK2 repeats its ACK for every packet that it has already, too.
func (t *transfer) judge(ack uint16) verdict {
	n := int64(ack - uint16(t.acked)) // modulo 65536, as block numbers roll over
	switch {
	case n == 0 && t.window > 1 && !t.again && t.sent > t.acked:
		t.again = true
		return resend
	case n == 0 || n > t.sent-t.acked:
		return ignore
	}
	t.acked += n
	return advance
}

// sendWindow sends the blocks after the last one that the client has.
func (t *transfer) sendWindow() error {
	end := t.acked + int64(t.window)
	for next := t.acked; next < end; {
		n := int(min(end-next, int64(t.out.train())))
		data, err := t.src.at(next*int64(t.block), n*t.block)
		if err != nil {
			// The client must know: it would take what it has for the file.
			_ = t.out.packet(errUnreadable.packet())
			return fmt.Errorf("%w: %w", errUnreadable, err)
		}
		if len(data) < n*t.block {
			n = len(data)/t.block + 1
			t.last, t.end = next+int64(n)-1, next*int64(t.block)+int64(len(data))
		}
		if err := t.out.blocks(next+1, data, n); err != nil {
			return err
		}
		next += int64(n)
		t.sent = max(t.sent, next)
		if t.last >= 0 {
			break
		}
	}
	return nil
}
