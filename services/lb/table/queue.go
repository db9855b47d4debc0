package table

import (
	"net/netip"
	"sync"
)

// A Waiter is a connection that waits in the queue of a backend for a server with room.
type Waiter struct {
	Client netip.Addr
	Tried  []*Server
	// Grant is told the server on which a place was taken for the connection, which has
	// left the queue. It must not block, and gives the place back when it has no use for it.
	// Nil says that there is none to wait for.
	Grant func(*Server)

	queue      *queue // nil: does not wait
	prev, next *Waiter
}

// queue holds waiters, the one that waits longest first.
type queue struct {
	mu          sync.Mutex
	first, last *Waiter
}

func (q *queue) add(x *Waiter) {
	x.queue, x.prev, x.next = q, q.last, nil
	if q.last != nil {
		q.last.next = x
	} else {
		q.first = x
	}
	q.last = x
}

func (q *queue) remove(x *Waiter) {
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		q.first = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	} else {
		q.last = x.prev
	}
	x.queue, x.prev, x.next = nil, nil, nil
}

// Wait puts x at the end of the queue. Grant may be called before Wait returns.
func (b *Backend) Wait(x *Waiter) {
	b.queue.mu.Lock()
	if c := b.choice.Load(); c != nil && len(c.members) == 0 && !c.unknown { // the last one has gone since Pick said full
		b.queue.mu.Unlock()
		x.Grant(nil)
		return
	}
	b.queue.add(x)
	raise(&b.MaxQueue, b.Queued.Add(1))
	b.queue.mu.Unlock()
	b.Serve() // a place may have become free before x was seen in the queue
}

// Forget takes x out of the queue; false when Grant was called.
func (b *Backend) Forget(x *Waiter) bool {
	b.queue.mu.Lock()
	defer b.queue.mu.Unlock()
	if x.queue == nil {
		return false
	}
	b.queue.remove(x)
	b.Queued.Add(-1)
	return true
}

// dismiss sends all away who waited for the first checks: there is no server for them.
func (b *Backend) dismiss() {
	b.queue.mu.Lock()
	defer b.queue.mu.Unlock()
	for x := b.queue.first; x != nil; x = b.queue.first {
		b.queue.remove(x)
		b.Queued.Add(-1)
		x.Grant(nil)
	}
}

// Serve gives the places that are free to those who wait, in their order. It is to be
// called whenever a place has become free, and costs one load when nobody waits.
func (b *Backend) Serve() {
	if b.Queued.Load() == 0 {
		return
	}
	b.queue.mu.Lock()
	defer b.queue.mu.Unlock()
	c := b.choice.Load()
	if c == nil {
		return
	}
	for x := b.queue.first; x != nil; {
		next := x.next
		s, others := b.take(c, x.Client, x.Tried)
		if s == nil && !others && len(x.Tried) > 0 { // the others are gone: one that failed may be back
			s, _ = b.take(c, x.Client, nil)
		}
		switch {
		case s != nil:
			b.queue.remove(x)
			b.Queued.Add(-1)
			x.Grant(s)
		case len(x.Tried) == 0: // nor is there a place for those behind
			return
		}
		x = next
	}
}

// take chooses a server and takes a place there. With nil, others tells whether
// servers are left that were not tried and are full.
func (b *Backend) take(c *choice, client netip.Addr, tried []*Server) (s *Server, others bool) {
	turn := b.turn.Add(1) - 1
	for {
		var i int
		if len(tried) == 0 {
			i = c.set.Pick(turn, client, c)
		} else {
			i = c.set.Pick(turn, client, &untried{c, tried})
		}
		if i < 0 {
			return nil, c.left(tried)
		}
		// Another worker may have taken the last place since: then that server is full, and the next one is chosen.
		if m := &c.members[i]; m.Reserve(m.Limit()) {
			m.Peak()
			return m.Server, false
		}
	}
}
