package engine

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"helperd/internal/guard"
	"helperd/services/lb/table"
)

const (
	// drainMax is how long connections may go on when the engine stops: what comes meanwhile waits in the kernel's queue.
	drainMax = time.Second
	// drainQuiet is how long none may have moved a byte before they are closed earlier than that.
	drainQuiet = 100 * time.Millisecond
)

// Options of an engine.
type Options struct {
	Guard   *guard.Group
	Fuse    *guard.Fuse // checked once a batch of events
	Workers int
	// Accepted is told of the client of every connection and must not block; nil tells nobody.
	Accepted func(t *table.Table, f *table.Frontend, client netip.Addr)
	// Stray is told of every connection that is closed before a backend is chosen, and must not block; nil: likewise.
	Stray func(Stray)
}

// An Engine is the workers and what they share.
type Engine struct {
	Counters

	opts    Options
	table   atomic.Pointer[table.Table]
	workers []*worker
	start   time.Time // of the workers' clock

	active  atomic.Int64
	paused  atomic.Int32                    // workers that do not accept
	stalled atomic.Int32                    // listeners that do not accept because their frontend is full
	held    atomic.Pointer[map[string]bool] // frontends that people paused; replaced under mu
	stopped atomic.Bool

	mu        sync.Mutex
	probes    map[netip.AddrPort]bool
	probesLen atomic.Int32
}

// Counters are totals since the start.
type Counters struct {
	Connections atomic.Uint64 // accepted, refused ones not included
	Timeouts    atomic.Uint64 // tunnels closed because no bytes moved
	AtLimit     atomic.Uint64 // times that accepting stopped at the limit
	Refused     atomic.Uint64 // connections of clients that are not allowed
	TooFast     atomic.Uint64 // connections above the rate of their client
	Unnamed     atomic.Uint64 // connections of which no cluster could be told
	BadHead     atomic.Uint64 // connections without the PROXY header that must be there
	Retries     atomic.Uint64 // connections sent to another server
	NoServer    atomic.Uint64 // connections closed because no server took them
}

// New gives an engine that does nothing before Run.
func New(o Options) *Engine {
	e := &Engine{opts: o, start: time.Now(), probes: map[netip.AddrPort]bool{}}
	e.table.Store(&table.Table{})
	e.held.Store(&map[string]bool{})
	for i := range min(max(o.Workers, 1), 1<<workerBits) {
		e.workers = append(e.workers, newWorker(e, i))
	}
	return e
}

// Active is the number of open connections.
func (e *Engine) Active() int64 { return e.active.Load() }

// Bytes are those from clients and those to clients since the start.
func (e *Engine) Bytes() (in, out uint64) {
	for _, w := range e.workers {
		in += w.moved[fromClient].Load()
		out += w.moved[fromServer].Load()
	}
	return in, out
}

// Full reports whether there are as many connections as there may be.
func (e *Engine) Full() bool { return e.active.Load() >= e.table.Load().MaxConnections }

// Paused reports whether a worker does not accept: at the limit, or without descriptors.
func (e *Engine) Paused() bool { return e.Full() || e.paused.Load() > 0 }

// Accepting reports whether the frontend at a may take a connection by its own limit and by what people want.
func (e *Engine) Accepting(a netip.AddrPort) bool {
	t := e.table.Load()
	f := t.At(a)
	return f == nil || !t.Full(f) && !e.Held(f.Config.Name)
}

// Swap makes t the table of connections that are accepted from now on.
func (e *Engine) Swap(t *table.Table) {
	e.table.Store(t)
	e.resume()
}

// Attach makes the workers accept connections of the socket that listens on
// addr, which is in the table in force. There should be a descriptor a worker; if not, workers share.
func (e *Engine) Attach(addr netip.AddrPort, fds []int) {
	f := e.table.Load().At(addr) // now: the table may be another one when the worker comes to it
	for i, w := range e.workers {
		if len(fds) >= len(e.workers) {
			for k := i; k < len(fds); k += len(e.workers) {
				w.post(func() { w.attach(addr, f, int32(fds[k]), false) })
			}
			continue
		}
		w.post(func() { w.attach(addr, f, int32(fds[i%len(fds)]), true) })
	}
}

// Detach makes the workers accept what waits at addr, for the frontend that was
// there last, and then no more. The channel is closed when all have done so;
// only then may the socket be closed.
func (e *Engine) Detach(addr netip.AddrPort) <-chan struct{} {
	done := make(chan struct{})
	var left atomic.Int32
	left.Store(int32(len(e.workers)))
	for _, w := range e.workers {
		w.post(func() {
			defer func() {
				if left.Add(-1) == 0 {
					close(done)
				}
			}()
			w.detach(addr)
		})
	}
	return done
}

// Kill closes the connections of s, which is dead: open ones by a reset, those
// being made look for another server.
func (e *Engine) Kill(s *table.Server) {
	for _, w := range e.workers {
		w.post(func() { w.killServer(s) })
	}
}

// Expect names the source of a connection that is a question of our own: it is
// accepted and closed. The returned function forgets it.
func (e *Engine) Expect(source netip.AddrPort) (forget func()) {
	set := func(add bool) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if add {
			e.probes[source] = true
		} else {
			delete(e.probes, source)
		}
		e.probesLen.Store(int32(len(e.probes)))
	}
	set(true)
	return func() { set(false) }
}

func (e *Engine) expected(source netip.AddrPort) bool {
	if e.probesLen.Load() == 0 {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.probes[source]
}

// Run serves until ctx ends; then it calls halt, after which nobody may attach or
// detach, lets connections that are busy end for a moment, and closes all. A worker that panics goes on with what
// it had, within a second.
func (e *Engine) Run(ctx context.Context, halt func()) error {
	e.stopped.Store(false)
	for i, w := range e.workers {
		if err := w.open(); err != nil {
			halt()
			for _, w := range e.workers { // the others too: what was posted must not wait for a later Run
				w.close()
			}
			return fmt.Errorf("epoll set of worker %d: %w", i, err)
		}
	}
	var all sync.WaitGroup
	for _, w := range e.workers {
		all.Add(1)
		e.opts.Guard.Go(w.name, func() {
			defer all.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			e.keepRunning(w)
		})
	}
	<-ctx.Done()
	halt()
	e.drain()
	e.stopped.Store(true)
	for _, w := range e.workers {
		w.wake()
	}
	all.Wait()
	return ctx.Err()
}

// drain accepts no more, and waits until no byte has moved for a moment: short connections have ended then.
func (e *Engine) drain() {
	for _, w := range e.workers {
		w.post(w.turnAway)
	}
	in, out := e.Bytes()
	for end := time.Now().Add(drainMax); e.Active() > 0 && time.Now().Before(end); {
		time.Sleep(drainQuiet)
		nowIn, nowOut := e.Bytes()
		if nowIn == in && nowOut == out {
			return
		}
		in, out = nowIn, nowOut
	}
}

// keepRunning runs w until the engine stops: again at once after a first panic,
// and within a second after more.
func (e *Engine) keepRunning(w *worker) {
	const longest = 800 * time.Millisecond
	wait := time.Duration(0)
	for {
		started := time.Now()
		if e.opts.Guard.Run(w.name, w.loop) == nil {
			break
		}
		if time.Since(started) > 10*time.Second {
			wait = 0
		}
		time.Sleep(wait)
		wait = min(max(2*wait, 10*time.Millisecond), longest)
	}
	_ = e.opts.Guard.Run(w.name, w.close)
}

// resume makes the workers that stopped accepting look whether they may go on.
func (e *Engine) resume() {
	if e.paused.Load() == 0 && e.stalled.Load() == 0 {
		return
	}
	for _, w := range e.workers {
		if w.idle.Load() || w.stalled.Load() > 0 {
			w.wake()
		}
	}
}

// reserve takes the place of one connection, if there is one.
func (e *Engine) reserve() bool {
	if e.active.Add(1) <= e.table.Load().MaxConnections {
		return true
	}
	e.active.Add(-1)
	return false
}

// free gives the place of a connection back.
func (e *Engine) free() {
	e.active.Add(-1)
	e.resume()
}
