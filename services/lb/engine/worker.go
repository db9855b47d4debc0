package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"helperd/services/lb/table"
)

// Events carry the index of a tunnel and its side in Fd, and the tunnel's generation in Pad,
// so that a late event does not hit the tunnel's successor. Negative: not a tunnel.
const (
	eventWake     = -1
	eventListener = -2 // and below: index of the listener, generation in Pad
)

// A worker is one thread with its epoll set, listeners and tunnels. What it
// is working on is kept here and not on the stack, so that it can go on after a panic.
type worker struct {
	engine *Engine
	index  int
	name   string
	serial uint64 // connections so far

	ep, wakeFD int
	events     [256]unix.EpollEvent
	next, n    int   // events[next:n] are to be handled
	current    int32 // tunnel that is being worked on, or none
	busy       bool  // the last batch came within a millisecond
	mail       bool  // the mailbox is to be emptied

	slab      slab
	wheel     *wheel
	pools     pools
	buf       []byte
	again     []handle // tunnels that had more to move than one turn allows
	listeners []listener
	clock     int64            // milliseconds since the start, as of the last batch
	moved     [2]atomic.Uint64 // bytes by direction

	linkOf func(int32) *links

	idle      atomic.Bool  // does not accept: at the limit, or out of descriptors
	idleUntil int64        // by clock, when out of descriptors
	stalled   atomic.Int32 // listeners that do not accept because their frontend is full

	mu  sync.Mutex
	box []func() // guarded by mu, as are ep and wakeFD when they change
}

// A handle names a tunnel of a certain generation.
type handle struct{ idx, gen int32 }

type listener struct {
	addr    netip.AddrPort
	fd      int32 // none: free
	gen     int32
	shared  bool
	on      bool // is in the epoll set
	stalled bool // its frontend is full
	burst   int
	// last is the frontend of the last table that had one here: a connection
	// that comes between a reload and the detach is served and not lost.
	last *table.Frontend
}

func newWorker(e *Engine, i int) *worker {
	w := &worker{engine: e, index: i, name: fmt.Sprintf("lb worker %d", i), current: none, ep: none, wakeFD: none}
	w.linkOf = func(i int32) *links { return &w.slab.at(i).links }
	return w
}

// open makes the epoll set of a worker that does not run.
func (w *worker) open() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: eventWake})
		if err != nil {
			_ = unix.Close(wake)
		}
	}
	if err != nil {
		_ = unix.Close(ep)
		return err
	}
	w.mu.Lock()
	w.ep, w.wakeFD = ep, wake
	w.mu.Unlock()
	w.buf = make([]byte, bufferSize)
	w.tick()
	w.wheel = newWheel(w.clock)
	w.mail = true // what was posted before
	return nil
}

// close gives back all that the worker has, opened or not. Commands that were posted are run, so that nobody waits for them.
func (w *worker) close() {
	w.commands()
	for i := range w.listeners {
		w.listeners[i].fd = none
	}
	w.slab.each(func(idx int32, t *tunnel) { w.kill(idx, t) })
	w.pools.close()
	w.again, w.next, w.n, w.current = nil, 0, 0, none
	if w.idle.Swap(false) {
		w.engine.paused.Add(-1)
	}
	w.engine.stalled.Add(-w.stalled.Swap(0))
	w.mu.Lock()
	_ = unix.Close(w.ep)
	_ = unix.Close(w.wakeFD)
	w.ep, w.wakeFD = none, none
	w.mu.Unlock()
	w.commands() // of those who saw it run a moment ago
}

// post makes the worker run fn between two batches.
func (w *worker) post(fn func()) {
	w.mu.Lock()
	w.box = append(w.box, fn)
	w.mu.Unlock()
	w.wake()
}

// postRunning is post for who waits for fn: false, and fn is not run, when the worker does not run.
func (w *worker) postRunning(fn func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wakeFD == none {
		return false
	}
	w.box = append(w.box, fn)
	w.signal()
	return true
}

func (w *worker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wakeFD != none {
		w.signal()
	}
}

// signal makes the worker return from its wait. The caller holds mu.
func (w *worker) signal() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(w.wakeFD, one[:])
}

// commands runs what was posted; each is taken off before it runs.
func (w *worker) commands() {
	for {
		w.mu.Lock()
		if len(w.box) == 0 {
			w.mail = false
			w.mu.Unlock()
			return
		}
		fn := w.box[0]
		w.box = w.box[1:]
		w.mu.Unlock()
		fn()
	}
}

func (w *worker) tick() { w.clock = time.Since(w.engine.start).Milliseconds() }

// second is the time of the last batch in Unix seconds.
func (w *worker) second() int64 { return w.engine.start.Unix() + w.clock/1000 }

// loop handles events until the engine stops.
func (w *worker) loop() {
	if idx := w.current; idx != none { // a panic: the state of this tunnel cannot be trusted
		w.current = none
		w.kill(idx, w.slab.at(idx))
	}
	for !w.engine.stopped.Load() {
		if w.next >= w.n {
			w.wait()
			w.engine.opts.Fuse.Check()
		}
		for w.next < w.n {
			ev := &w.events[w.next]
			w.next++
			w.handle(ev)
		}
		if w.mail {
			w.commands()
		}
		w.goOn()
		w.timers()
		w.tryResume()
	}
}

// wait fills events. While batches come within a millisecond the scheduler is not told of the wait:
// that costs more than most waits, and a stop of the world ends it by its signal.
func (w *worker) wait() {
	w.next, w.n = 0, 0
	switch {
	case len(w.again) > 0 || w.mail:
		w.n = sysWait(w.ep, w.events[:], 0)
	case w.busy:
		w.n = sysWait(w.ep, w.events[:], 1)
		w.busy = w.n > 0
	default:
		began := time.Now()
		if n, err := unix.EpollWait(w.ep, w.events[:], w.timeout()); err == nil { // else a signal of the runtime
			w.n = n
		}
		w.busy = w.n > 0 && time.Since(began) < time.Millisecond
	}
	w.tick()
}

// timeout is how long to wait for events, in milliseconds, or -1.
func (w *worker) timeout() int {
	d := w.wheel.delay(w.clock)
	if w.idle.Load() && (d < 0 || d > 100) {
		d = 100
	}
	return d
}

func (w *worker) handle(ev *unix.EpollEvent) {
	switch {
	case ev.Fd == eventWake:
		w.mail = true
		var b [8]byte
		_, _ = unix.Read(w.wakeFD, b[:])
	case ev.Fd <= eventListener:
		if l := &w.listeners[eventListener-ev.Fd]; l.fd != none && l.on && l.gen == ev.Pad {
			w.accept(l)
		}
	default:
		idx, side := ev.Fd>>1, int(ev.Fd&1)
		if t := w.slab.at(idx); t.gen == ev.Pad && t.phase != free {
			w.current = idx
			w.event(idx, t, side, ev.Events)
			w.current = none
		}
	}
}

// goOn gives the tunnels that were cut off another turn.
func (w *worker) goOn() {
	for n := len(w.again); n > 0; n-- {
		h := w.again[0]
		w.again = w.again[1:]
		if t := w.slab.at(h.idx); t.gen == h.gen && t.phase == open {
			w.current = h.idx
			t.queued = false
			w.move(h.idx, t)
			w.current = none
		}
	}
	if len(w.again) == 0 {
		w.again = nil
	}
}

func (w *worker) timers() {
	for {
		idx := w.wheel.pop(w.linkOf, w.clock)
		if idx == none {
			return
		}
		w.current = idx
		w.due(idx, w.slab.at(idx))
		w.current = none
	}
}

// killServer closes the connections of a dead server.
func (w *worker) killServer(s *table.Server) {
	w.slab.each(func(idx int32, t *tunnel) {
		if t.server != s {
			return
		}
		w.current = idx
		switch t.phase {
		case connecting:
			w.retry(idx, t)
		case open:
			sysReset(t.d[fromClient].from)
			w.kill(idx, t)
		}
		w.current = none
	})
}
