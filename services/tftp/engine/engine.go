package engine

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"helperd/internal/guard"
)

// Engine carries transfers: a few workers, each of which waits for the sockets
// of many. A goroutine a transfer costs twice the CPU in lock step, where every
// packet is a wake-up: a worker takes what came for all of them in one go.
type Engine struct {
	guard   *guard.Group
	workers []*worker

	mu   sync.Mutex
	turn int // of the worker that gets the next transfer, when all have as many
}

// mostWorkers are enough for 10 Gbit/s by windows.
const mostWorkers = 4

// New gives an engine that does nothing yet.
func New(g *guard.Group) (*Engine, error) {
	e := &Engine{guard: g}
	// One a CPU: fewer find more packets at a time and cost less, and take longer
	// for all where the clients want the machine, too. GOMAXPROCS says less: the daemon
	// counts threads that wait.
	for range min(runtime.NumCPU(), mostWorkers) {
		w, err := newWorker(e)
		if err != nil {
			e.Stop()
			return nil, err
		}
		e.workers = append(e.workers, w)
	}
	return e, nil
}

// Start lets the workers work until ctx ends. The channels close when they have stopped.
func (e *Engine) Start(ctx context.Context) (done []<-chan struct{}) {
	for _, w := range e.workers {
		done = append(done, e.guard.Loop(ctx, "tftp transfers", w.run))
	}
	return done
}

// Stop ends all transfers; the workers must have stopped.
func (e *Engine) Stop() {
	for _, w := range e.workers {
		w.stop()
	}
}

// Wake makes every worker look through its transfers now.
func (e *Engine) Wake() {
	for _, w := range e.workers {
		w.hurry()
	}
}

// Carry takes t over, which somebody has let go of with err: at first that is what Begin gave.
func (e *Engine) Carry(t *Transfer, err error) {
	switch {
	case err == nil:
		if !e.next().enter(t) {
			e.end(t, errStopped)
		}
	case errors.Is(err, errDisk):
		e.guard.Go("tftp disk", func() { e.read(t) })
	case errors.Is(err, errDone):
		e.end(t, nil)
	default:
		e.end(t, err)
	}
}

// end closes what t holds and tells how it came out; nil: the client has everything.
func (e *Engine) end(t *Transfer, err error) {
	defer t.src.Close()
	t.port.Close()
	t.story.Ended(t, err)
}

// next is the worker with the least to do.
func (e *Engine) next() *worker {
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
func (e *Engine) read(t *Transfer) {
	err := errPanic // unless all goes well
	defer func() { e.Carry(t, err) }()
	t.mayWait = true
	err = t.proceed(newSender(), time.Now())
	t.mayWait = false
}

// errPanic ends a transfer in which a panic was caught; the daemon tells what it was.
var errPanic = errors.New("an error of the server")
