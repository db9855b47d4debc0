package tftp

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"helperd/internal/guard"
)

// engine carries transfers: a few workers, each of which waits for the sockets
// of many. A goroutine a transfer costs twice the CPU in lock step, where every
// packet is a wake-up: a worker takes what came for all of them in one go.
type engine struct {
	guard   *guard.Group
	ended   func(*transfer, error)
	workers []*worker

	mu   sync.Mutex
	turn int // of the worker that gets the next transfer, when all have as many
}

// mostWorkers are enough for 10 Gbit/s by windows.
const mostWorkers = 4

// newEngine gives an engine that tells ended of every transfer that has come
// to its end, with the reason: nil when the client has everything.
func newEngine(g *guard.Group, ended func(*transfer, error)) (*engine, error) {
	e := &engine{guard: g, ended: ended}
	// Half of the CPUs: there is more to do on this machine than TFTP.
	for range max(1, min(runtime.GOMAXPROCS(0)/2, mostWorkers)) {
		w, err := newWorker(e)
		if err != nil {
			e.stop()
			return nil, err
		}
		e.workers = append(e.workers, w)
	}
	return e, nil
}

// start lets the workers work until ctx ends. The channels close when they have stopped.
func (e *engine) start(ctx context.Context) (done []<-chan struct{}) {
	for _, w := range e.workers {
		done = append(done, e.guard.Loop(ctx, "tftp transfers", w.run))
	}
	return done
}

// stop ends all transfers; the workers must have stopped.
func (e *engine) stop() {
	for _, w := range e.workers {
		w.stop()
	}
}

// wake makes every worker look through its transfers now.
func (e *engine) wake() {
	for _, w := range e.workers {
		w.hurry()
	}
}

// carry takes t over, which somebody has let go of with err.
func (e *engine) carry(t *transfer, err error) {
	switch {
	case err == nil:
		if !e.next().enter(t) {
			e.ended(t, errStopped)
		}
	case errors.Is(err, errDisk):
		e.guard.Go("tftp disk", func() { e.read(t) })
	case errors.Is(err, errDone):
		e.ended(t, nil)
	default:
		e.ended(t, err)
	}
}

// next is the worker with the least to do.
func (e *engine) next() *worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.turn++
	best := e.workers[e.turn%len(e.workers)]
	for _, w := range e.workers {
		if w.load.Load() < best.load.Load() {
			best = w
		}
	}
	return best
}

// read sends the rest of a window that is on a disk.
func (e *engine) read(t *transfer) {
	err := errPanic // unless all goes well
	defer func() { e.carry(t, err) }()
	t.mayWait = true
	err = t.proceed(newSender(), time.Now())
	t.mayWait = false
}

// errPanic ends a transfer in which a panic was caught; the daemon tells what it was.
var errPanic = errors.New("an error of the server")
