package engine

import (
	"context"
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// worker carries many transfers by one thread. It owns them from enter until it
// lets them go.
type worker struct {
	engine *Engine
	poll   int // epoll descriptor
	bell   int // eventfd that ends a wait
	load   atomic.Int64

	out     *sender
	in      [512]byte // what ACKs and ERRORs need
	events  [64]unix.EpollEvent
	batch   []*Transfer
	current *Transfer // in whose name code runs: after a panic it is given up

	mu        sync.Mutex
	transfers map[int32]*Transfer // by descriptor
	look      time.Time           // when to look for deadlines that have passed; zero: there is none
	closed    bool
}

func newWorker(e *Engine) (*worker, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(poll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	w := &worker{engine: e, poll: poll, bell: bell, out: newSender(), transfers: map[int32]*Transfer{}}
	if err := w.watch(bell, unix.EPOLLIN); err != nil {
		_ = unix.Close(poll)
		_ = unix.Close(bell)
		return nil, err
	}
	return w, nil
}

func (w *worker) watch(fd int, events uint32) error {
	err := unix.EpollCtl(w.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}

// interest is what the poll tells of t. In lock step that is every packet once,
// which spares the kernel to look again, after each, whether there are more.
func interest(t *Transfer) uint32 {
	if t.Window == 1 {
		return unix.EPOLLIN | unix.EPOLLET
	}
	return unix.EPOLLIN
}

// enter takes t over, unless the worker has stopped or the machine has no room.
func (w *worker) enter(t *Transfer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.watch(t.port.descriptor(), interest(t)) != nil {
		return false
	}
	w.transfers[int32(t.port.descriptor())] = t
	w.load.Add(1)
	when := t.deadline
	if t.stopped.Load() {
		when = time.Now()
	}
	if w.lookAt(when) {
		w.ring()
	}
	return true
}

// lookAt notes when the next deadline is, and reports whether that is earlier
// than was known. The caller holds the lock.
func (w *worker) lookAt(when time.Time) bool {
	if !w.look.IsZero() && !when.Before(w.look) {
		return false
	}
	w.look = when
	return true
}

func (w *worker) ring() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(w.bell, one) // a bell that is full rings already
}

// hurry makes the worker look at its transfers now.
func (w *worker) hurry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.look = time.Now()
		w.ring()
	}
}

// letGo gives t away.
func (w *worker) letGo(t *Transfer) {
	fd := t.port.descriptor()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.transfers, int32(fd))
	w.load.Add(-1)
	_ = unix.EpollCtl(w.poll, unix.EPOLL_CTL_DEL, fd, nil) // it is there
}

// run carries transfers until ctx ends, which takes a ring of the bell to be seen.
func (w *worker) run(ctx context.Context) error {
	if t := w.current; t != nil {
		w.settle(t, errPanic)
		w.mu.Lock()
		w.look = time.Now() // those that were to come after it
		w.mu.Unlock()
	}
	for ctx.Err() == nil {
		n, err := w.wait()
		if err != nil {
			return err
		}
		now := time.Now()
		for i, t := range w.ready(n) {
			if t == nil {
				w.rang(int(w.events[i].Fd))
				continue
			}
			w.current = t
			w.settle(t, w.receive(t, now))
		}
		for _, t := range w.overdue(now) {
			w.current = t
			err := w.receive(t, now)
			if err == nil && t.due(now) {
				err = t.expired(w.out, now)
			}
			w.settle(t, err)
		}
	}
	return nil
}

// mostReceived is how many packets in a row are taken from one client.
const mostReceived = 16

// receive takes what has come for t, up to the packet that brings it on: the
// client has nothing more to say before it has the answer, of which the poll
// tells again. After any other packet there may be one that it told of already.
// What is left all the same is seen at the deadline.
func (w *worker) receive(t *Transfer, now time.Time) error {
	had := t.acked
	for range mostReceived {
		got, err := t.port.recv(w.in[:])
		if err == unix.EAGAIN {
			return nil
		}
		if err := t.take(w.out, w.in[:got], err, now); err != nil || t.acked != had {
			return err
		}
	}
	return nil
}

const (
	// manyTransfers is from where on the next packet is always about to come, and
	// mostLooks how often it is looked for then: some ten microseconds long, which
	// is less than it takes to sleep and be woken, for the clients' machine, too.
	manyTransfers = 64
	mostLooks     = 50
)

// wait waits for packets until the next deadline.
func (w *worker) wait() (int, error) {
	looks := 1
	if w.load.Load() >= manyTransfers {
		looks = mostLooks
	}
	for range looks {
		// It does not block: the scheduler is spared the call.
		n, _, _ := unix.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(w.poll), uintptr(unsafe.Pointer(&w.events[0])), uintptr(len(w.events)), 0, 0, 0)
		if int(n) > 0 {
			return int(n), nil
		}
	}
	w.mu.Lock()
	look := w.look
	w.mu.Unlock()
	timeout := -1
	if !look.IsZero() {
		timeout = int(max(0, time.Until(look)+time.Millisecond-1) / time.Millisecond)
	}
	got, err := unix.EpollWait(w.poll, w.events[:], timeout)
	if err == unix.EINTR {
		return 0, nil
	}
	return max(got, 0), os.NewSyscallError("epoll_wait", err)
}

// ready are the transfers of the first n events; nil stands for the bell.
func (w *worker) ready(n int) []*Transfer {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.batch = w.batch[:0]
	for _, e := range w.events[:n] {
		w.batch = append(w.batch, w.transfers[e.Fd])
	}
	return w.batch
}

func (w *worker) rang(fd int) {
	var count [8]byte
	_, _ = unix.Read(fd, count[:])
}

// overdue are the transfers whose deadline has passed, or that are stopped.
func (w *worker) overdue(now time.Time) []*Transfer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.look.IsZero() || now.Before(w.look) {
		return nil
	}
	w.batch, w.look = w.batch[:0], time.Time{}
	for _, t := range w.transfers {
		if t.due(now) {
			w.batch = append(w.batch, t)
		} else {
			w.lookAt(t.deadline)
		}
	}
	return w.batch
}

// settle does what t's last call asks for.
func (w *worker) settle(t *Transfer, err error) {
	w.current = nil
	if err == nil {
		w.mu.Lock()
		w.lookAt(t.deadline)
		w.mu.Unlock()
		return
	}
	w.letGo(t)
	w.engine.Carry(t, err)
}

// stop ends the transfers that are left. The worker does not run any more.
func (w *worker) stop() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	for _, t := range w.transfers {
		w.engine.end(t, errStopped)
	}
	_ = unix.Close(w.poll)
	_ = unix.Close(w.bell)
}
