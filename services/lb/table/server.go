package table

import (
	"net/netip"
	"sync"
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
	history  history
	admin    atomic.Int32 // Admin
	weight   atomic.Int32 // instead of that of the file, plus 1; 0: none
	limit    atomic.Int64 // of connections, instead of that of the file; 0: none
	ignored  atomic.Bool  // its checks are suspended
	mu       sync.Mutex   // held while state or admin change
}

// State of the server and the time it entered it.
func (s *Server) State() (State, time.Time) {
	return State(s.state.Load()), time.Unix(0, s.since.Load())
}

// Set makes the server enter a state at a time.
func (s *Server) Set(st State, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since.Store(at.UnixNano())
	if old := s.state.Swap(int32(st)); State(old) == Up && st != Up {
		s.Falls.Add(1)
	}
	if st == Up {
		s.wasUp.Store(true)
	}
	s.account(at)
}

// account starts or stops the clock of the downtime. In maintenance a server is
// down, as in HAProxy; before its first check nobody knows. The caller holds mu.
func (s *Server) account(now time.Time) {
	switch st, _ := s.State(); {
	case s.Admin() == Maint:
		s.down(now)
	case st == Up:
		s.upAgain(now)
	case st != Starting:
		s.down(now)
	}
}

// Restore makes the server what it was in the process before.
func (s *Server) Restore(st State, since time.Time, wasUp, fallback bool) {
	s.Set(st, since)
	s.wasUp.Store(wasUp || st == Up)
	s.SetFallback(fallback)
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
