package engine

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"helperd/services/lb/table"
)

const (
	// retryPause is how long to wait before servers are tried a second time, in milliseconds.
	retryPause = 1000
	// queuePoll is how often a connection that waits for room looks again, in milliseconds.
	queuePoll = 100
	// noTimeout stands for no limit, in milliseconds.
	noTimeout = int64(1) << 50
)

// start makes a tunnel to b for an accepted connection.
func (w *worker) start(fd int32, client netip.Addr, f *table.Frontend, b *table.Backend) {
	idx, t := w.slab.take()
	before := w.current
	w.current = idx
	w.serial++
	t.id, t.began = w.serial<<workerBits|uint64(w.index), w.clock
	t.client, t.frontend, t.backend = client, f, b
	t.d[fromClient].from, t.d[fromServer].to = fd, fd
	t.d[fromClient].to, t.d[fromServer].from = none, none
	t.phase = waiting
	if w.watch(fd, idx, t, fromClient) != 0 {
		w.kill(idx, t)
	} else {
		w.dial(idx, t)
	}
	w.current = before
}

// watch adds a socket of t to the epoll set, edge-triggered.
func (w *worker) watch(fd, idx int32, t *tunnel, side int32) unix.Errno {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: idx<<1 | side, Pad: t.gen}
	return sysEpoll(w.ep, unix.EPOLL_CTL_ADD, fd, &ev)
}

// dial begins to connect t to a server, waits for room, or gives up.
func (w *worker) dial(idx int32, t *tunnel) {
	b := t.backend
	for {
		s, full := b.Pick(t.client, t.tried)
		switch {
		case s != nil:
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
		fd, errno := sysConnect(s.Address)
		if exhausted(errno) { // no fault of the server: wait for better times
			w.queue(idx, t)
			return
		}
		t.server = s
		s.Enter()
		if errno == 0 {
			t.d[fromClient].to, t.d[fromServer].from = fd, fd
			if errno = w.watch(fd, idx, t, fromServer); errno == 0 {
				t.phase = connecting
				t.at = w.clock + limit(b.Group().Config.ConnectTimeout)
				w.wheel.set(w.linkOf, idx, t.at)
				return
			}
		}
		if !w.failed(t) {
			w.giveUp(idx, t)
			return
		}
	}
}

// exhausted reports whether this machine lacks what a further socket takes.
func exhausted(e unix.Errno) bool {
	return e == unix.EMFILE || e == unix.ENFILE || e == unix.ENOBUFS || e == unix.ENOMEM
}

// queue lets t wait until a server has room, or this machine a socket, or the time for that is over.
func (w *worker) queue(idx int32, t *tunnel) {
	b := t.backend
	if t.queueEnd == 0 {
		t.queueEnd = w.clock + limit(b.Group().Config.QueueTimeout)
	}
	if w.clock >= t.queueEnd {
		w.giveUp(idx, t)
		return
	}
	w.waitUntil(idx, t, min(w.clock+queuePoll, t.queueEnd))
}

func (w *worker) waitUntil(idx int32, t *tunnel, at int64) {
	t.phase, t.at = waiting, at
	w.wheel.set(w.linkOf, idx, at)
}

// failed notes that the server of t could not be reached; false when t has no try left.
func (w *worker) failed(t *tunnel) bool {
	s := t.server
	w.leave(t)
	s.Failed.Add(1)
	t.tried = append(t.tried, s)
	if int(t.tries) >= w.engine.table.Load().Retries || t.tries == 255 {
		return false
	}
	t.tries++
	t.backend.Retries.Add(1)
	w.engine.Retries.Add(1)
	return true
}

// giveUp ends a tunnel that no server took.
func (w *worker) giveUp(idx int32, t *tunnel) {
	t.backend.NoneUp.Add(1)
	w.engine.NoServer.Add(1)
	w.kill(idx, t)
}

// leave closes the connection to the server.
func (w *worker) leave(t *tunnel) {
	if fd := t.d[fromServer].from; fd != none {
		sysClose(fd)
		t.d[fromClient].to, t.d[fromServer].from = none, none
	}
	t.server.Leave()
	t.server = nil
	t.d[fromClient].writable, t.d[fromServer].readable, t.d[fromServer].hup = false, false, false
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
	t.phase, t.tried = open, nil
	t.server.Begun(w.second())
	t.active = w.clock
	t.silent = min(limit(t.frontend.Config.ClientTimeout), limit(g.Config.ServerTimeout))
	if g.Config.SendProxy != "" {
		client, local := sysPeers(t.d[fromClient].from)
		t.d[fromClient].pend = proxyHeader(g.Config.SendProxy, client, local)
	}
	w.wheel.set(w.linkOf, idx, t.active+t.silent)
}

func limit(d time.Duration) int64 {
	if d <= 0 {
		return noTimeout
	}
	return max(1, d.Milliseconds())
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
	case t.phase == waiting:
		w.dial(idx, t)
	case t.phase == connecting:
		w.retry(idx, t)
	default:
		w.engine.Timeouts.Add(1)
		w.kill(idx, t)
	}
}

// kill closes both sockets and frees the tunnel.
func (w *worker) kill(idx int32, t *tunnel) {
	if t.phase == free {
		return
	}
	sysClose(t.d[fromClient].from)
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
	w.slab.put(idx, t)
	w.engine.free()
}
