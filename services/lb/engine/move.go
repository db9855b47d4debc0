package engine

import "golang.org/x/sys/unix"

const (
	// bulkAfter is how many full reads in a row turn a direction to splice.
	bulkAfter = 2
	// turn is how many reads or splices a direction has before others have theirs.
	turn = 16
)

// event handles what epoll says of one side of a tunnel.
func (w *worker) event(idx int32, t *tunnel, side int, ev uint32) {
	if side == fromServer && t.phase == connecting {
		if ev&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			w.retry(idx, t)
			return
		}
		if ev&unix.EPOLLOUT == 0 {
			return
		}
		if w.connected(idx, t); t.phase != open {
			return // what is in ev is of a server that is not this tunnel's any more
		}
	}
	in, out := &t.d[side], &t.d[1-side] // what this side sends, and what it gets
	if ev&unix.EPOLLRDHUP != 0 {
		in.hup = true
	}
	if ev&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		in.readable = true
	}
	if ev&unix.EPOLLOUT != 0 {
		out.writable = true
	}
	if ev&unix.EPOLLPRI != 0 {
		in.urgent = true
	}
	if ev&unix.EPOLLERR != 0 {
		w.reset(idx, t, side)
		return
	}
	if t.wait != nil && in.hup {
		w.hangUp(idx, t)
		return
	}
	switch {
	case t.phase == open:
		w.move(idx, t)
	case t.phase == heading || t.phase == peeking:
		if in.readable {
			w.look(idx, t)
		}
	}
}

// reset ends a tunnel of which one side is broken: the other side is reset too,
// after what the broken one had sent before.
func (w *worker) reset(idx int32, t *tunnel, side int) {
	if t.phase == open && !t.d[side].done {
		t.d[1-side].done = true // no FIN goes out before the reset
		w.pump(t, side)
	}
	for i := range t.d {
		if fd := t.d[i].from; fd != none {
			sysReset(fd)
		}
	}
	w.aborted(t, side == fromClient)
	w.kill(idx, t)
}

// move moves what can be moved, both ways, and closes what is done.
func (w *worker) move(idx int32, t *tunnel) {
	more := false
	for side := range t.d {
		d := &t.d[side]
		if d.done || !d.readable && !d.eof && d.pend == nil && d.pipe == nil {
			continue
		}
		switch w.pump(t, side) {
		case broken:
			// Most often it is a write that failed, to a side that has closed: what it said before goes out too.
			t.d[1-side].readable = true
			w.reset(idx, t, 1-side)
			return
		case unfinished:
			more = true
		}
	}
	if t.d[fromClient].done && t.d[fromServer].done {
		w.kill(idx, t)
		return
	}
	if !t.half && (t.d[fromClient].done || t.d[fromServer].done) {
		t.half = true
		w.mind(idx, t)
	}
	if more && !t.queued {
		t.queued = true
		w.again = append(w.again, handle{idx, t.gen})
	}
}

// The outcomes of a pump.
type outcome uint8

const (
	blocked    outcome = iota // waits for an event
	unfinished                // could go on
	broken                    // a socket failed
)

// pump moves the bytes of one direction until it would block or its turn is over.
func (w *worker) pump(t *tunnel, side int) outcome {
	d := &t.d[side]
	var sent int
	result := unfinished
	for left := turn; left > 0 && result == unfinished; left-- {
		var n int
		switch {
		case d.pend != nil:
			n, result = w.flush(d)
		case d.inPipe > 0:
			n, result = w.drain(d)
		case d.eof:
			w.finish(d, &t.d[1-side])
			result = blocked
		case !d.readable:
			w.calm(d)
			result = blocked
		case d.full >= bulkAfter && !d.urgent && w.bulk(d):
			result = w.fill(d)
		default:
			n, result = w.copy(d, &t.d[1-side])
		}
		sent += n
	}
	if sent > 0 {
		t.active = w.clock
		d.moved += uint64(sent)
		w.moved[side].Add(uint64(sent))
		t.count(side, uint64(sent))
	}
	return result
}

// count adds bytes that moved to what they are counted at.
func (t *tunnel) count(side int, n uint64) {
	if side == fromClient {
		t.server.BytesIn.Add(n)
		t.backend.BytesIn.Add(n)
		t.frontend.Counters.BytesIn.Add(n)
	} else {
		t.server.BytesOut.Add(n)
		t.backend.BytesOut.Add(n)
		t.frontend.Counters.BytesOut.Add(n)
	}
}

// flush sends what an earlier turn had to leave.
func (w *worker) flush(d *direction) (int, outcome) {
	if !d.writable {
		return 0, blocked
	}
	rest := d.pend[d.off:]
	n, e := sysWrite(d.to, rest, false)
	if e != 0 {
		d.writable = false
		return 0, blockedIf(e)
	}
	if n < len(rest) {
		d.off += int32(n)
		d.writable = false
		return n, blocked
	}
	w.pools.putBuffer(d.pend)
	d.pend, d.off = nil, 0
	return n, unfinished
}

// drain moves bytes from the pipe to the socket.
func (w *worker) drain(d *direction) (int, outcome) {
	if !d.writable {
		return 0, blocked
	}
	n, e := sysSplice(d.pipe.r, d.to, int(d.inPipe))
	if e != 0 {
		d.writable = false
		return 0, blockedIf(e)
	}
	d.inPipe -= int32(n)
	return n, unfinished
}

func blockedIf(e unix.Errno) outcome {
	if e == unix.EAGAIN {
		return blocked
	}
	return broken
}

// finish passes the FIN on. When it is the second one, both sockets are closed anyway.
func (w *worker) finish(d, other *direction) {
	if !d.done {
		d.done = true
		if !other.done {
			sysShutdownWrite(d.to)
		}
	}
	w.calm(d)
}

// calm gives the pipe of a direction that has nothing to move to others.
func (w *worker) calm(d *direction) {
	if d.pipe != nil {
		w.pools.putPipe(d.pipe, true)
		d.pipe = nil
	}
	d.full = 0
}

// bulk makes sure that d has a pipe; false when there are no more.
func (w *worker) bulk(d *direction) bool {
	if d.pipe == nil {
		d.pipe = w.pools.pipe()
	}
	return d.pipe != nil
}

// fill moves bytes from the socket to the pipe, which is empty.
func (w *worker) fill(d *direction) outcome {
	n, e := sysSplice(d.from, d.pipe.w, pipeSize)
	switch {
	case e == unix.EAGAIN:
		d.readable = false
	case e != 0:
		return broken
	case n == 0:
		d.full = 0 // the FIN, or urgent data behind which it waits: a read tells
	default:
		d.inPipe = int32(n)
	}
	return unfinished
}

// copy moves one buffer from socket to socket, and the FIN behind it.
func (w *worker) copy(d, other *direction) (int, outcome) {
	n, e := sysRead(d.from, w.buf)
	switch {
	case e == unix.EAGAIN:
		d.readable = false
		return 0, unfinished
	case e != 0:
		return 0, broken
	case n == 0:
		d.eof = true
		return 0, unfinished
	case n == len(w.buf):
		d.full = min(d.full+1, bulkAfter)
	case d.urgent: // a read stops before it, and may go on behind it
		d.full = 0
	default:
		// A short read has taken all there was. With the FIN in the queue behind it, it was the last.
		d.full = 0
		d.readable = false
		d.eof = d.hup
	}
	sent := 0
	last := d.eof && !other.done
	if d.writable {
		k, e := sysWrite(d.to, w.buf[:n], last)
		if e != 0 && e != unix.EAGAIN {
			return 0, broken
		}
		if e == 0 {
			sent = k
		}
	}
	if sent < n {
		d.writable = false
		d.pend, d.off = w.pools.keep(w.buf[sent:n]), 0
		return sent, blocked
	}
	if last {
		w.finish(d, other)
		return sent, blocked
	}
	return sent, unfinished
}
