package table

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// State of a server.
type State int32

// The states.
const (
	Starting State = iota // not checked yet: takes no connections
	Up                    // takes connections
	Unready               // answers, and not as it should: takes no new connections, open ones live on
	Dead                  // TCP is refused or times out: open connections are closed
	Retired               // bootstrap after the masters took over
)

func (s State) String() string {
	return [...]string{"starting", "up", "unready", "dead", "retired"}[s]
}

// A Result is the outcome of one check.
type Result struct {
	At     time.Time     `json:"at"`
	Took   time.Duration `json:"took_ns"`
	OK     bool          `json:"ok"`
	Detail string        `json:"detail"` // such as "HTTP 503"
}

// A Server is the state of one server. It is shared by all tables that have a
// server of the same backend, name and address, and by its open tunnels.
type Server struct {
	Backend string
	Name    string
	Address netip.AddrPort

	Traffic
	Failures

	state    atomic.Int32
	since    atomic.Int64 // of the state, Unix nanoseconds
	wasUp    atomic.Bool
	ramp     atomic.Int64 // start of the slow start, Unix nanoseconds; 0: none
	fallback atomic.Bool
	last     atomic.Pointer[Result]
	admin    atomic.Int32 // Admin
	weight   atomic.Int32 // instead of that of the file, plus 1; 0: none
}

// State of the server and the time it entered it.
func (s *Server) State() (State, time.Time) {
	return State(s.state.Load()), time.Unix(0, s.since.Load())
}

// Set makes the server enter a state at a time.
func (s *Server) Set(st State, at time.Time) {
	s.since.Store(at.UnixNano())
	s.state.Store(int32(st))
	if st == Up {
		s.wasUp.Store(true)
	}
}

// WasUp reports whether the server has ever been up.
func (s *Server) WasUp() bool { return s.wasUp.Load() }

// SlowStart begins the ramp of the server's weight; the zero time ends it.
func (s *Server) SlowStart(at time.Time) {
	if at.IsZero() {
		s.ramp.Store(0)
		return
	}
	s.ramp.Store(at.UnixNano())
}

// Fallback reports whether the server answers on the fallback path while it is unready.
func (s *Server) Fallback() bool { return s.fallback.Load() }

// SetFallback notes whether the server answers on the fallback path; true when that is news.
func (s *Server) SetFallback(ok bool) bool { return s.fallback.Swap(ok) != ok }

// Last is the result of the last check, or nil.
func (s *Server) Last() *Result { return s.last.Load() }

// Checked stores the result of a check.
func (s *Server) Checked(r *Result) { s.last.Store(r) }
