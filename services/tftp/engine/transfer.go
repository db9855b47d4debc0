package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"helperd/services/tftp/packet"
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

	// errDone says that the client has everything.
	errDone = errors.New("done")
	// errDisk says that the next bytes are on a disk: whoever carries other
	// transfers, too, must not wait for it.
	errDisk = errors.New("the next bytes are on a disk")
)

// Transfer sends one file to one client. It never waits: its owner calls it
// when a packet has come or its deadline has passed. Others only stop it.
type Transfer struct {
	packet.Terms
	port Port
	src  Content

	opening bool  // the OACK is not acknowledged yet
	acked   int64 // blocks that the client has
	next    int64 // the block that is sent next, counted from 0
	sent    int64 // blocks that are on their way or there
	last    int64 // number of the short block that ends the file, counted from 0; -1: not seen yet
	end     int64 // length in bytes, once last is known
	segment bool  // windows leave by trains
	mayWait bool  // the owner may wait for a disk

	deadline time.Time // what was sent is sent again then
	try      int       // that many times its gap has passed without an answer
	early    bool      // the deadline is before the gap has passed: that is no try
	again    bool      // this window was or is to be sent again before its time
	repeated bool      // this window, or OACK, was sent more than once

	stopped atomic.Bool
	started atomic.Bool // the client has answered
	resent  int64       // packets or windows that were sent again
	story   Story
}

// NewTransfer gives a transfer of src to the client of p, which way leads to.
// Once Carry is called, the engine closes src and p.
func NewTransfer(p Port, way Route, src Content, terms packet.Terms, story Story) *Transfer {
	return &Transfer{Terms: terms, port: p, src: src, story: story, segment: terms.Block <= way.Largest(way.mtu)}
}

// Stop makes t end once its owner looks; see Engine.Wake. It reports false when t is stopped already.
func (t *Transfer) Stop() bool { return t.stopped.CompareAndSwap(false, true) }

// Begin sends the first packet, and may wait for a disk. What it gives is for Carry.
func (t *Transfer) Begin(now time.Time) error {
	out := senders.Get().(*sender)
	defer senders.Put(out)
	t.mayWait = true
	err := t.begin(out, now)
	t.mayWait = false
	return err
}

// begin sends the first packet. From here on every call says by an error what
// the owner has to do: errDone, errDisk, or why the transfer ends. A client that
// stops it before the first block only asked for the size: a packet.Error comes
// with nothing acknowledged.
func (t *Transfer) begin(out *sender, now time.Time) error {
	t.last = -1
	t.opening = t.OACK != nil
	return t.send(out, now)
}

// send sends what the client lacks: the OACK, or the window after the last block that it has.
func (t *Transfer) send(out *sender, now time.Time) error {
	t.next = t.acked
	return t.proceed(out, now)
}

// proceed sends the rest of that.
func (t *Transfer) proceed(out *sender, now time.Time) error {
	var err error
	if t.opening {
		err = t.port.write(t.OACK)
	} else {
		err = t.sendWindow(out)
	}
	switch {
	case errors.Is(err, errDisk):
		return err
	case errors.Is(err, unix.EAGAIN) && !t.again: // a full queue moves on soon, or not at all
		t.again, t.early = true, true
		t.deadline = now.Add(hesitation)
	case err == nil || lost(err):
		t.early = false
		t.deadline = now.Add(t.gap(t.try))
	default:
		return t.broken(err)
	}
	return nil
}

// due reports whether the owner is to look at t.
func (t *Transfer) due(now time.Time) bool { return t.stopped.Load() || !now.Before(t.deadline) }

// expired sends again what was not answered until the deadline.
func (t *Transfer) expired(out *sender, now time.Time) error {
	if t.stopped.Load() {
		return errStopped
	}
	if !t.early {
		if t.try++; t.try > tries {
			return errSilent
		}
	}
	t.resent++
	t.repeated = true
	return t.send(out, now)
}

// take takes a packet, or what the port has in its place. What does not bring
// the transfer on does not move the deadline away either.
func (t *Transfer) take(out *sender, p []byte, err error, now time.Time) error {
	switch {
	case t.stopped.Load():
		return errStopped
	case errors.Is(err, unix.EMSGSIZE) && !t.again:
		t.again, t.early = true, true // the kernel knows the path's MTU from here on
		return t.expired(out, now)
	case lost(err), err == nil && len(p) < packet.HeaderLen:
		return nil
	case err != nil:
		return t.broken(err)
	}
	switch binary.BigEndian.Uint16(p) {
	case packet.OpError:
		return packet.ParseError(p)
	case packet.OpACK:
	default:
		return nil
	}
	if !t.started.Load() {
		t.started.Store(true)
		t.story.Started()
	}
	switch t.judge(binary.BigEndian.Uint16(p[2:])) {
	case bringsOn:
		return t.advance(out, now)
	case resend:
		if soon := now.Add(hesitation); soon.Before(t.deadline) {
			t.deadline, t.early = soon, true
		}
	case ignore:
	}
	return nil
}

// advance goes on with what follows the last ACK.
func (t *Transfer) advance(out *sender, now time.Time) error {
	t.story.Progress(t, now)
	if t.last >= 0 && t.acked > t.last {
		return errDone
	}
	t.src.passed(t.acked * int64(t.Block))
	t.try, t.again, t.repeated = 0, false, false
	return t.send(out, now)
}

// gap is the wait after a packet was sent for the try-th time, counted from 0:
// twice the one before, up to what a long timeout option says by itself. Who
// has not answered yet may have forged its address: its place is not kept that long.
func (t *Transfer) gap(try int) time.Duration {
	longest := longestGap
	if t.started.Load() {
		longest = max(longest, t.Timeout)
	}
	return min(t.Timeout<<min(try, 3), longest)
}

// lost reports whether err is as good as a lost packet: a link or a route that
// is away for a moment, a full queue, a packet filter, a path whose MTU has
// shrunk. It comes from sending, or by ICMP from a router.
func lost(err error) bool {
	if err == nil {
		return false
	}
	for _, e := range []error{unix.EAGAIN, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.ENOBUFS, unix.EPERM, unix.EMSGSIZE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// broken names what ends a transfer for good.
func (t *Transfer) broken(err error) error {
	switch {
	case t.stopped.Load():
		return errStopped
	case !errors.Is(err, unix.ECONNREFUSED):
		return err
	case !t.opening && t.repeated && t.last >= 0 && t.sent > t.last:
		// The port was open for all that was sent first, and is closed for its
		// repetition: only the last ACK was lost. The client has finished, as
		// firmware does that does not dally (RFC 1350 section 6).
		t.acked = t.last + 1
		return errDone
	}
	return errGone
}

// verdict on an ACK.
type verdict int

const (
	ignore   verdict = iota
	resend           // the client lacks what was sent last
	bringsOn         // the client has more than before
)

// judge takes an ACK. One of a block inside the window means that what follows
// it was lost (RFC 7440 section 4): the next window starts there.
// A repeated ACK is never answered in lock step, where it would double every
// packet to come (RFC 1123 section 4.2.3.1, Sorcerer's Apprentice), and once
// a window otherwise: the window's first block was lost, if nothing better comes
// in a moment. EDK2 repeats its ACK for every packet that it has already, too.
func (t *Transfer) judge(ack uint16) verdict {
	if t.opening {
		if ack != 0 {
			return ignore
		}
		t.opening = false
		return bringsOn
	}
	n := int64(ack - uint16(t.acked)) // modulo 65536, as block numbers roll over
	switch {
	case n == 0 && t.Window > 1 && !t.again && t.sent > t.acked:
		t.again = true
		return resend
	case n == 0 || n > t.sent-t.acked:
		return ignore
	}
	t.acked += n
	return bringsOn
}

// sendWindow sends the blocks from next to the end of the window.
func (t *Transfer) sendWindow(out *sender) error {
	end := t.acked + int64(t.Window)
	for t.next < end && (t.last < 0 || t.next <= t.last) {
		n := int(min(end-t.next, int64(train(t.Block))))
		off, size := t.next*int64(t.Block), n*t.Block
		if !t.mayWait && !t.src.ready(off, size) {
			return errDisk
		}
		data, err := t.src.at(off, size)
		if err != nil {
			// The client must know: it would take what it has for the file.
			_ = t.port.write(packet.ErrUnreadable.Bytes())
			return fmt.Errorf("%w: %w", packet.ErrUnreadable, err)
		}
		if len(data) < size {
			n = len(data)/t.Block + 1
			t.last, t.end = t.next+int64(n)-1, off+int64(len(data))
		}
		refused, err := out.blocks(t.port, t.Block, t.segment, t.next+1, data, n)
		if refused {
			t.segment = false
		}
		if err != nil {
			return err
		}
		t.next += int64(n)
		t.sent = max(t.sent, t.next)
	}
	return nil
}
