package engine

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"helperd/services/lb/proxyproto"
	"helperd/services/lb/table"
)

const (
	// retryPause is how long to wait before servers are tried a second time, in milliseconds.
	retryPause = 1000
	// socketPause is how often a connection that waits for a socket looks again, in milliseconds.
	socketPause = 100
)

// start makes a tunnel for an accepted connection; heading says that a PROXY header comes first.
func (w *worker) start(fd int32, client netip.Addr, f *table.Frontend, first uint8) {
	w.startFor(fd, client, f, first, nil)
}

// startFor is start after the PROXY header p was read.
func (w *worker) startFor(fd int32, client netip.Addr, f *table.Frontend, first uint8, p *proxied) {
	idx, t := w.slab.take()
	before := w.current
	w.current = idx
	w.serial++
	t.id, t.began = w.serial<<workerBits|uint64(w.index), w.clock
	t.client, t.frontend, t.proxied = client, f, p
	t.d[fromClient].from, t.d[fromServer].to = fd, fd
	t.d[fromClient].to, t.d[fromServer].from = none, none
	t.phase, t.at = first, w.clock+headTimeout
	switch {
	case w.watch(fd, idx, t, fromClient) != 0:
		w.kill(idx, t)
	case first == heading:
		w.wheel.set(w.linkOf, idx, t.at)
	default:
		w.begin(idx, t)
	}
	w.current = before
}

// watch adds a socket of t to the epoll set, edge-triggered.
func (w *worker) watch(fd, idx int32, t *tunnel, side int32) unix.Errno {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET, Fd: idx<<1 | side, Pad: t.gen}
	return sysEpoll(w.ep, unix.EPOLL_CTL_ADD, fd, &ev)
}

// dial begins to connect t to a server, waits for room, or gives up.
func (w *worker) dial(idx int32, t *tunnel) {
	for {
		s, full := t.backend.Pick(t.client, t.tried)
		switch {
		case s != nil:
			if w.connect(idx, t, s) {
				return
			}
		case full:
			w.queue(idx, t)
			return
		case len(t.tried) > 0: // all were tried: give them a moment
			t.tried = nil
			w.waitUntil(idx, t, w.clock+retryPause)
			return
		default:
			w.giveUp(idx, t)
			return
		}
	}
}

// connect begins to connect t to s, on which it has a place; false when that failed and
// another server is to be tried.
func (w *worker) connect(idx int32, t *tunnel, s *table.Server) bool {
	t.dialed = time.Since(w.engine.start)
	fd, errno := sysConnect(s.Address)
	if exhausted(errno) { // no fault of the server: wait for better times
		w.release(t.backend, s)
		w.waitForSocket(idx, t)
		return true
	}
	w.countRetry(t, s)
	t.server = s
	if errno == 0 {
		t.d[fromClient].to, t.d[fromServer].from = fd, fd
		if errno = w.watch(fd, idx, t, fromServer); errno == 0 {
			t.phase = connecting
			t.at = w.clock + limit(t.backend.Group().Config.ConnectTimeout)
			w.wheel.set(w.linkOf, idx, t.at)
			return true
		}
	}
	if w.failed(t) {
		return false
	}
	w.giveUp(idx, t)
	return true
}

// countRetry notes what the server that t lost has to do with its next one.
func (w *worker) countRetry(t *tunnel, next *table.Server) {
	switch t.lost {
	case nil:
	case next:
		next.Retries.Add(1)
		t.backend.Retries.Add(1)
	default:
		t.lost.Redispatches.Add(1)
		t.backend.Redispatches.Add(1)
	}
	t.lost = nil
}

// exhausted reports whether this machine lacks what a further socket takes.
func exhausted(e unix.Errno) bool {
	return e == unix.EMFILE || e == unix.ENFILE || e == unix.ENOBUFS || e == unix.ENOMEM
}

// waitForSocket lets t look again soon whether this machine has a socket for it, until the time in the queue is over.
func (w *worker) waitForSocket(idx int32, t *tunnel) {
	w.setQueueEnd(t)
	if w.clock >= t.queueEnd {
		w.giveUp(idx, t)
		return
	}
	w.waitUntil(idx, t, min(w.clock+socketPause, t.queueEnd))
}

func (w *worker) waitUntil(idx int32, t *tunnel, at int64) {
	t.phase, t.at = waiting, at
	w.wheel.set(w.linkOf, idx, at)
}

// failed notes that the server of t could not be reached; false when t has no try left.
func (w *worker) failed(t *tunnel) bool {
	s := t.server
	w.leave(t)
	if int(t.tries) >= w.engine.table.Load().Retries || t.tries == 255 {
		s.Failed.Add(1)
		return false
	}
	t.tried, t.lost = append(t.tried, s), s
	t.tries++
	w.engine.Retries.Add(1)
	return true
}

// giveUp ends a tunnel that no server took.
func (w *worker) giveUp(idx int32, t *tunnel) {
	t.backend.Failed.Add(1)
	t.backend.NoneUp.Add(1)
	w.engine.NoServer.Add(1)
	w.sendAway(idx, t)
}

// sendAway ends a tunnel without a server: by a FIN, as HAProxy does it. What the client has
// sent is read, for a close that leaves it unread is a reset.
func (w *worker) sendAway(idx int32, t *tunnel) {
	for range turn {
		if n, e := sysRead(t.d[fromClient].from, w.buf); e != 0 || n < len(w.buf) {
			break
		}
	}
	w.kill(idx, t)
}

// leave closes the connection to the server.
func (w *worker) leave(t *tunnel) {
	if fd := t.d[fromServer].from; fd != none {
		sysClose(fd)
		t.d[fromClient].to, t.d[fromServer].from = none, none
	}
	s := t.server
	t.server = nil
	t.d[fromClient].writable, t.d[fromServer].readable, t.d[fromServer].hup = false, false, false
	w.release(t.backend, s)
}

// release gives a place on s back, to the one that waits longest.
func (w *worker) release(b *table.Backend, s *table.Server) {
	s.Leave()
	b.Serve()
}

// retry tries another server after the one of t failed.
func (w *worker) retry(idx int32, t *tunnel) {
	if w.failed(t) {
		w.dial(idx, t)
	} else {
		w.giveUp(idx, t)
	}
}

// connected makes t an open tunnel.
func (w *worker) connected(idx int32, t *tunnel) {
	g := t.backend.Group()
	if g.Config.SendProxy != "" {
		client, local := t.peers()
		header := proxyproto.Header(g.Config.SendProxy, client, local)
		if n, e := sysWrite(t.d[fromClient].to, header, false); e != 0 || n < len(header) { // an empty socket has room
			w.retry(idx, t)
			return
		}
	}
	t.phase, t.tried = open, nil
	took := time.Since(w.engine.start) - t.dialed
	t.server.Begun(w.second())
	t.server.Connected(took, w.second())
	t.backend.Connected(took, w.second())
	t.active = w.clock
	w.mind(idx, t)
}

// due handles the timer of t, which may have fired too early.
func (w *worker) due(idx int32, t *tunnel) {
	at := t.at
	if t.phase == open {
		at = t.active + t.silent
	}
	switch {
	case w.clock < at:
		w.wheel.set(w.linkOf, idx, at)
	case t.wait != nil:
		if t.backend.Forget(t.wait) { // else a place is on its way
			t.wait = nil
			w.giveUp(idx, t)
		}
	case t.phase == heading, t.phase == peeking:
		w.overdue(idx, t)
	case t.phase == waiting:
		w.dial(idx, t)
	case t.phase == connecting:
		w.retry(idx, t)
	default:
		w.silence(idx, t)
	}
}

// kill closes both sockets and frees the tunnel.
func (w *worker) kill(idx int32, t *tunnel) {
	if t.phase == free {
		return
	}
	sysClose(t.d[fromClient].from)
	if t.wait != nil {
		t.backend.Forget(t.wait)
	}
	if t.server != nil {
		w.leave(t)
	}
	for i := range t.d {
		if p := t.d[i].pipe; p != nil {
			w.pools.putPipe(p, t.d[i].inPipe == 0)
		}
		w.pools.putBuffer(t.d[i].pend)
	}
	w.wheel.unset(w.linkOf, idx)
	t.frontend.Counters.Leave()
	if t.backend != nil {
		t.backend.Leave()
	}
	f := t.frontend
	w.slab.put(idx, t)
	w.giveBack(f)
}
