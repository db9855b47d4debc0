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
	if !w.idle.Load() {
		w.listen(slot)
	}
}

func (w *worker) listen(slot int) {
	l := &w.listeners[slot]
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(eventListener - slot), Pad: l.gen}
	if l.shared {
		ev.Events |= unix.EPOLLEXCLUSIVE // wake one worker, not all
	}
	sysEpoll(w.ep, unix.EPOLL_CTL_ADD, l.fd, &ev)
}

// detach accepts what waits and then removes the listener.
func (w *worker) detach(addr netip.AddrPort) {
	for i := range w.listeners {
		l := &w.listeners[i]
		if l.fd == none || l.addr != addr {
			continue
		}
		var ev unix.EpollEvent
		sysEpoll(w.ep, unix.EPOLL_CTL_DEL, l.fd, &ev)
		for w.acceptOne(l) == 0 {
		}
		l.fd, l.last = none, nil
	}
}

// accept takes the connections that wait, one a turn unless they come in
// bursts: a call that finds nothing costs as much as one that does.
func (w *worker) accept(l *listener) {
	for k := range l.burst {
		switch e := w.acceptOne(l); e {
		case 0:
		case unix.EAGAIN, unix.EINTR, unix.ECONNABORTED:
			l.burst = max(1, k)
			return
		case unix.EUSERS: // at the limit
			w.pause(0)
			return
		default: // out of descriptors or memory
			w.pause(backoff)
			return
		}
	}
	l.burst = min(l.burst*2, burstMax)
}

// acceptOne takes one connection. EUSERS says that there are as many as there may be.
func (w *worker) acceptOne(l *listener) unix.Errno {
	e := w.engine
	if !e.reserve() {
		return unix.EUSERS
	}
	fd, client, errno := sysAccept(l.fd)
	if errno != 0 {
		e.free()
		return errno
	}
	t := e.table.Load()
	if f := t.At(l.addr); f != nil {
		l.last = f
	}
	f := l.last
	if f == nil || e.expected(client) {
		sysClose(fd)
		e.free()
		return 0
	}
	if !f.Allows(client.Addr()) {
		f.Counters.Refused.Add(1)
		e.Refused.Add(1)
		sysClose(fd)
		e.free()
		return 0
	}
	b := f.Route("", client.Addr())
	if b == nil {
		f.Counters.Unnamed.Add(1)
		sysClose(fd)
		e.free()
		return 0
	}
	e.Connections.Add(1)
	f.Counters.Begun(w.second())
	w.start(fd, client.Addr(), f, b)
	if e.opts.Accepted != nil {
		e.opts.Accepted(t, f, client.Addr())
	}
	return 0
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
	for i := range w.listeners {
		if l := &w.listeners[i]; l.fd != none {
			var ev unix.EpollEvent
			sysEpoll(w.ep, unix.EPOLL_CTL_DEL, l.fd, &ev)
		}
	}
}

// tryResume accepts again when it may.
func (w *worker) tryResume() {
	if !w.idle.Load() || w.clock < w.idleUntil || w.engine.Full() {
		return
	}
	w.idle.Store(false)
	w.engine.paused.Add(-1)
	for i := range w.listeners {
		if w.listeners[i].fd != none {
			w.listen(i)
		}
	}
}
