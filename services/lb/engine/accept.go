package engine

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"helperd/services/lb/table"
)

const (
	// backoff is how long a worker that is out of descriptors does not accept, in milliseconds.
	backoff = 100
	// burstMax bounds the connections taken in one turn.
	burstMax = 64
)

// attach adds a listening descriptor to the epoll set.
func (w *worker) attach(addr netip.AddrPort, f *table.Frontend, fd int32, shared bool) {
	slot := -1
	for i := range w.listeners {
		if w.listeners[i].fd == none {
			slot = i
		}
	}
	if slot < 0 {
		w.listeners = append(w.listeners, listener{})
		slot = len(w.listeners) - 1
	}
	// Accepted sockets inherit these, which saves two calls a connection. Keepalive ends
	// the tunnels of machines that were switched off; servers have their checks for that.
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 120)
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 30)
	l := &w.listeners[slot]
	*l = listener{addr: addr, fd: fd, gen: l.gen + 1, shared: shared, burst: 1, last: f}
	w.review()
}

// review makes each listener accept, or not, as the limits and people want it.
func (w *worker) review() {
	held, stalled := *w.engine.held.Load(), int32(0)
	for i := range w.listeners {
		l := &w.listeners[i]
		if l.fd == none {
			continue
		}
		f := w.frontendOf(l)
		if l.stalled && (f == nil || !w.engine.table.Load().Full(f)) {
			l.stalled = false
			if f != nil {
				f.Counters.Unstall()
			}
		}
		if l.stalled {
			stalled++
		}
		on := !w.idle.Load() && !l.stalled && (f == nil || !held[f.Config.Name])
		if on && !l.on {
			w.listen(i)
		} else if !on && l.on {
			w.deafen(l)
		}
	}
	w.engine.stalled.Add(stalled - w.stalled.Swap(stalled))
}

// frontendOf gives the frontend that l is for today, or the last one there was.
func (w *worker) frontendOf(l *listener) *table.Frontend {
	if f := w.engine.table.Load().At(l.addr); f != nil {
		l.last = f
	}
	return l.last
}

func (w *worker) listen(slot int) {
	l := &w.listeners[slot]
	l.on = true
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(eventListener - slot), Pad: l.gen}
	if l.shared {
		ev.Events |= unix.EPOLLEXCLUSIVE // wake one worker, not all
	}
	sysEpoll(w.ep, unix.EPOLL_CTL_ADD, l.fd, &ev)
}

func (w *worker) deafen(l *listener) {
	l.on = false
	var ev unix.EpollEvent
	sysEpoll(w.ep, unix.EPOLL_CTL_DEL, l.fd, &ev)
}

// detach accepts what waits and then removes the listener. The limit of its frontend does not count
// any more: what is left in the kernel is reset when the socket closes.
func (w *worker) detach(addr netip.AddrPort) {
	for i := range w.listeners {
		l := &w.listeners[i]
		if l.fd == none || l.addr != addr {
			continue
		}
		if l.on {
			w.deafen(l)
		}
		for w.acceptOne(l, 0) == 0 {
		}
		l.fd, l.last = none, nil
	}
	w.review()
}

// accept takes the connections that wait, one a turn unless they come in
// bursts: a call that finds nothing costs as much as one that does.
func (w *worker) accept(l *listener) {
	for k := range l.burst {
		switch e := w.acceptOne(l, w.limit(l)); e {
		case 0:
		case unix.EAGAIN, unix.EINTR, unix.ECONNABORTED:
			l.burst = max(1, k)
			return
		case unix.EUSERS: // at the limit
			w.pause(0)
			return
		case unix.EBUSY: // at the frontend's limit
			l.stalled = true
			w.frontendOf(l).Counters.Stall()
			w.review()
			return
		default: // out of descriptors or memory
			w.pause(backoff)
			return
		}
	}
	l.burst = min(l.burst*2, burstMax)
}

// limit is how many connections the frontend of l may have; 0: no limit.
func (w *worker) limit(l *listener) int64 {
	if f := w.frontendOf(l); f != nil {
		return w.engine.table.Load().Limit(f)
	}
	return 0
}

// acceptOne takes one connection when the frontend has fewer than limit; 0: however many it has.
// EUSERS says that there are as many as there may be in all, EBUSY that the frontend has as many.
func (w *worker) acceptOne(l *listener, limit int64) unix.Errno {
	e := w.engine
	f := w.frontendOf(l)
	if f != nil && !f.Counters.Place(limit) {
		return unix.EBUSY
	}
	if !e.reserve() {
		if f != nil {
			f.Counters.Free()
			e.resume()
		}
		return unix.EUSERS
	}
	fd, client, errno := sysAccept(l.fd)
	if errno != 0 {
		w.giveBack(f)
		return errno
	}
	if f == nil || e.expected(client) {
		sysClose(fd)
		w.giveBack(f)
		return 0
	}
	first := waiting
	if f.FromProxy(client.Addr()) {
		first = heading // it is not known yet who the client is
	} else if !w.admit(fd, f, client.Addr()) {
		sysClose(fd)
		w.giveBack(f)
		return 0
	}
	f.Counters.Enter()
	w.start(fd, client.Addr(), f, first)
	return 0
}

// giveBack gives back what was taken for a connection of f, which may be nil.
func (w *worker) giveBack(f *table.Frontend) {
	if f != nil {
		f.Counters.Free()
	}
	w.engine.free()
}

// pause stops accepting, for some milliseconds or until a connection ends. What comes waits in the kernel's queue.
func (w *worker) pause(ms int64) {
	if w.idle.Swap(true) {
		return
	}
	w.engine.paused.Add(1)
	w.idleUntil = w.clock + ms
	if ms == 0 {
		w.engine.AtLimit.Add(1)
	}
	w.review()
}

// tryResume accepts again when it may.
func (w *worker) tryResume() {
	if w.idle.Load() && w.clock >= w.idleUntil && !w.engine.Full() {
		w.idle.Store(false)
		w.engine.paused.Add(-1)
		w.review()
	} else if w.stalled.Load() > 0 {
		w.review()
	}
}
