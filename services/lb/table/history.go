package table

import (
	"sync/atomic"
	"time"
)

// A Result is the outcome of one check.
type Result struct {
	At     time.Time     `json:"at"`
	Took   time.Duration `json:"took_ns"`
	OK     bool          `json:"ok"`
	Detail string        `json:"detail"` // such as "HTTP 503"
}

// kept is how many results a server remembers.
const kept = 16

// history is a ring of the last results. Its one writer never waits for readers:
// the slot that it writes next holds no result that counts.
type history struct {
	ring [kept + 1]atomic.Pointer[Result]
	n    atomic.Uint64 // results so far
}

func (h *history) slot(i uint64) *atomic.Pointer[Result] { return &h.ring[i%uint64(len(h.ring))] }

// Checked stores the result of a check.
func (s *Server) Checked(r *Result) {
	n := s.history.n.Load()
	s.history.slot(n).Store(r)
	s.history.n.Store(n + 1)
}

// Last is the result of the last check, or nil.
func (s *Server) Last() *Result {
	if n := s.history.n.Load(); n > 0 {
		return s.history.slot(n - 1).Load()
	}
	return nil
}

// History gives the results of the last 16 checks, the oldest first.
func (s *Server) History() []Result {
	h := &s.history
	for {
		n := h.n.Load()
		out := make([]Result, 0, kept)
		for i := n - min(n, kept); i < n; i++ {
			out = append(out, *h.slot(i).Load())
		}
		if h.n.Load() == n { // else a check ended meanwhile, and they come seconds apart
			return out
		}
	}
}
