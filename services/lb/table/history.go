package table

import (
	"sync/atomic"
	"time"
)

// An Outcome is what a check came to.
type Outcome string

// The outcomes.
const (
	Unmade        Outcome = "unmade"         // this machine could not make it: says nothing of the server
	Unreachable   Outcome = "unreachable"    // this machine has no way to the server's network
	Connected     Outcome = "connected"      // as it should; no more was asked
	ConnectLate   Outcome = "connect_late"   // no answer to a TCP connect
	ConnectFailed Outcome = "connect_failed" // such as refused
	TLSLate       Outcome = "tls_late"
	TLSFailed     Outcome = "tls_failed"
	AnswerLate    Outcome = "answer_late"
	AnswerFailed  Outcome = "answer_failed" // it is no HTTP, or the connection ended
	Answered      Outcome = "answered"      // with the status that it should have
	WrongStatus   Outcome = "wrong_status"
)

// A Result is what one check found out.
type Result struct {
	At      time.Time     `json:"at"`
	Took    time.Duration `json:"took_ns"`
	OK      bool          `json:"ok"`
	Outcome Outcome       `json:"outcome"`
	Status  int           `json:"status,omitempty"` // of an HTTP answer
	Detail  string        `json:"detail"`           // such as "HTTP 503"
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
