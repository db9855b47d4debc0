package tftp

import (
	"net/netip"
	"sync"
	"time"

	"helperd/timeline"
)

// isNode reports whether addr is that of a node.
func (s *Service) isNode(addr netip.Addr) bool {
	st := s.state.Load()
	return st != nil && st.plan.NodeByAddr(addr) != nil
}

// tell emits an event. Whoever reaches the port makes as many as they like, under any
// address: those of strangers are rationed, so that they do not push the nodes' stories out.
func (s *Service) tell(e timeline.Event) {
	if !s.isNode(e.Addr) && !s.strangers.take(time.Now()) {
		s.count.untold.Add(1)
		return
	}
	s.host.Events.Emit(e)
}

// What is told of strangers: the boot of a handful of machines that nobody declared.
const (
	rationBurst = 100
	rationEvery = time.Second
)

// ration is a token bucket. The zero value is full.
type ration struct {
	mu    sync.Mutex
	empty time.Time // when it was, or would have been, without a token
}

// take takes a token, if there is one.
func (r *ration) take(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if full := now.Add(-rationBurst * rationEvery); r.empty.Before(full) {
		r.empty = full
	}
	next := r.empty.Add(rationEvery)
	if next.After(now) {
		return false
	}
	r.empty = next
	return true
}
