package engine

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"helperd/services/lb/table"
)

// A Session is what can be told of a connection.
type Session struct {
	ID                        uint64 // no other connection has it as long as the process lives
	Client, Local             netip.AddrPort
	Frontend, Backend, Server string
	ServerAddr                netip.AddrPort // invalid before a server is chosen
	Phase                     string         // heading, peeking, waiting, connecting or open
	Age, Idle                 time.Duration  // since it was accepted, since bytes last moved
	In, Out                   uint64         // bytes from the client, bytes to it
}

// workerBits are the low bits of a session's ID, which name its worker.
const workerBits = 8

// ask makes every worker that runs call fn between two batches, and waits for all.
func (e *Engine) ask(fn func(*worker)) {
	var all sync.WaitGroup
	for _, w := range e.workers {
		all.Add(1)
		if !w.postRunning(func() { defer all.Done(); fn(w) }) {
			all.Done()
		}
	}
	all.Wait()
}

// Sessions are the connections that there are, the oldest first.
func (e *Engine) Sessions() []Session {
	var mu sync.Mutex
	var out []Session
	e.ask(func(w *worker) {
		list := w.sessions()
		mu.Lock()
		defer mu.Unlock()
		out = append(out, list...)
	})
	slices.SortFunc(out, func(a, b Session) int { return int(b.Age - a.Age) })
	return out
}

func (w *worker) sessions() []Session {
	var out []Session
	w.slab.each(func(_ int32, t *tunnel) {
		s := Session{
			ID: t.id, Frontend: t.frontend.Config.Name, Phase: phaseNames[t.phase],
			Age: since(w.clock, t.began), Idle: since(w.clock, max(t.active, t.began)),
			In: t.d[fromClient].moved, Out: t.d[fromServer].moved,
		}
		s.Client, s.Local = t.peers()
		if t.backend != nil {
			s.Backend = t.backend.Name
		}
		if t.server != nil {
			s.Server, s.ServerAddr = t.server.Name, t.server.Address
		}
		out = append(out, s)
	})
	return out
}

func since(now, then int64) time.Duration { return time.Duration(now-then) * time.Millisecond }

// Shutdown closes the connection with an ID of Sessions; false when there is none.
func (e *Engine) Shutdown(id uint64) bool {
	var found atomic.Bool
	e.ask(func(w *worker) {
		if uint64(w.index) == id&(1<<workerBits-1) && w.shutdown(func(t *tunnel) bool { return t.id == id }) > 0 {
			found.Store(true)
		}
	})
	return found.Load()
}

// ShutdownServer closes the connections to s, those that are being made too, and gives their number.
func (e *Engine) ShutdownServer(s *table.Server) int {
	var n atomic.Int64
	e.ask(func(w *worker) { n.Add(int64(w.shutdown(func(t *tunnel) bool { return t.server == s }))) })
	return int(n.Load())
}

// shutdown closes the tunnels that match: by a FIN, after what was sent before.
func (w *worker) shutdown(match func(*tunnel) bool) (n int) {
	w.slab.each(func(idx int32, t *tunnel) {
		if match(t) {
			w.current = idx
			w.kill(idx, t)
			w.current = none
			n++
		}
	})
	return n
}

// Pause stops accepting at the addresses of a frontend: what comes waits in the
// kernel's queue. Open connections go on, and so do all other frontends. It holds
// until Resume, also for a frontend of that name in a later table.
func (e *Engine) Pause(frontend string) { e.setHeld(frontend, true) }

// Resume undoes Pause.
func (e *Engine) Resume(frontend string) { e.setHeld(frontend, false) }

// Held reports whether a frontend is paused.
func (e *Engine) Held(frontend string) bool { return (*e.held.Load())[frontend] }

func (e *Engine) setHeld(frontend string, held bool) {
	e.mu.Lock()
	next := maps.Clone(*e.held.Load())
	if held {
		next[frontend] = true
	} else {
		delete(next, frontend)
	}
	e.held.Store(&next)
	e.mu.Unlock()
	e.ask((*worker).review)
}
