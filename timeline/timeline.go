package timeline

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"helperd/plan"
)

// capacity is the number of events kept: a thousand nodes' boots.
const capacity = 20000

// Timeline keeps the last events and one story a node.
type Timeline struct {
	plan atomic.Pointer[plan.Plan]
	now  func() time.Time

	mu      sync.Mutex
	seq     uint64 // of the last event; the ring holds seq-capacity+1 .. seq
	ring    []Event
	recent  map[foldKey]uint64 // last event of a key, for folding repetitions
	stories map[string]*Story
	wake    chan struct{} // closed when an event arrives; nil while nobody waits
}

type foldKey struct {
	kind   Kind
	node   string
	mac    plan.MAC
	addr   netip.Addr
	detail string
	file   string
}

// New gives an empty timeline that reads the time from now.
func New(now func() time.Time) *Timeline {
	return &Timeline{now: now, ring: make([]Event, 0, 256), recent: map[foldKey]uint64{}, stories: map[string]*Story{}}
}

// Apply makes p the plan that names nodes. Stories of nodes that left it are dropped.
// Resume begins the story of a node with what is known of it from before the
// daemon's start. Nobody saw how it got there: no hint says that it takes too
// long, until the node is installed again or does not come back from its disk.
func (t *Timeline) Resume(node string, stage Stage, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stories[node] = &Story{Node: node, Stage: stage, Since: since, resumed: true}
}

func (t *Timeline) Apply(p *plan.Plan) {
	t.plan.Store(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.stories {
		if p.NodeByName(name) == nil {
			delete(t.stories, name)
		}
	}
}

// Emit adds an event. It never blocks on a reader.
func (t *Timeline) Emit(e Event) {
	e.Time = t.now()
	if p := t.plan.Load(); p != nil && e.Node == "" {
		if n := nodeOf(p, &e); n != nil {
			e.Node = n.FQDN
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.fold(&e) {
		t.seq++
		e.Seq = t.seq
		t.put(e)
	}
	if e.Node != "" {
		s := t.stories[e.Node]
		if s == nil {
			s = &Story{Node: e.Node, Stage: Off}
			t.stories[e.Node] = s
		}
		s.add(&e)
	}
	if t.wake != nil {
		close(t.wake)
		t.wake = nil
	}
}

func nodeOf(p *plan.Plan, e *Event) *plan.Node {
	if !e.MAC.IsZero() {
		return p.NodeByMAC(e.MAC)
	}
	if e.Addr.IsValid() {
		return p.NodeByAddr(e.Addr)
	}
	return nil
}

// fold counts e in an earlier event that says the same. Progress (Bytes) replaces the earlier one's.
func (t *Timeline) fold(e *Event) bool {
	k := foldKey{e.Kind, e.Node, e.MAC, e.Addr, e.Detail, e.File}
	if len(t.recent) > capacity {
		clear(t.recent)
	}
	if seq, ok := t.recent[k]; ok {
		if old := t.at(seq); old != nil && e.Time.Sub(old.Time) < time.Minute && !ends(old, e) {
			if old.Bytes == old.Total || e.Bytes < old.Bytes { // a new attempt, not progress of the old one
				old.Repeated++
			}
			old.Bytes, old.Total = e.Bytes, e.Total
			e.Seq = seq
			return true
		}
	}
	t.recent[k] = t.seq + 1
	return false
}

// ends reports whether e is the end of the download that old is the progress
// of. It is an event of its own: who follows has seen old and sees no changes to it.
func ends(old, e *Event) bool { return old.Bytes != old.Total && e.Bytes == e.Total }

func (t *Timeline) put(e Event) {
	if len(t.ring) < capacity {
		t.ring = append(t.ring, e)
		return
	}
	t.ring[(e.Seq-1)%capacity] = e
}

// at gives the kept event with sequence number seq, or nil.
func (t *Timeline) at(seq uint64) *Event {
	if seq == 0 || seq > t.seq || t.seq-seq >= capacity {
		return nil
	}
	return &t.ring[(seq-1)%capacity]
}

// Since gives the kept events after sequence number seq, oldest first.
func (t *Timeline) Since(seq uint64) []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since(seq)
}

func (t *Timeline) since(seq uint64) []Event {
	if seq >= t.seq {
		return nil
	}
	first := seq + 1
	if t.seq >= capacity {
		first = max(first, t.seq-capacity+1)
	}
	var out []Event
	for s := first; s <= t.seq; s++ {
		out = append(out, *t.at(s))
	}
	return out
}

// Follow waits for events after seq and gives them, or ctx's error.
func (t *Timeline) Follow(ctx context.Context, seq uint64) ([]Event, error) {
	for {
		t.mu.Lock()
		events := t.since(seq)
		if t.wake == nil {
			t.wake = make(chan struct{})
		}
		wake := t.wake
		t.mu.Unlock()
		if len(events) > 0 {
			return events, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Story gives a copy of what is known of the node, which may be nothing yet.
func (t *Timeline) Story(fqdn string) Story {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.stories[fqdn]; s != nil {
		return s.snapshot(t.now())
	}
	return Story{Node: fqdn, Stage: Off}
}
