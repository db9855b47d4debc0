package dhcp6

import (
	"context"
	"sync"
	"time"

	"helperd/timeline"
)

// mostQueued bounds the answers that wait for the disk. Past it requests are
// dropped: their clients ask again.
const mostQueued = 4096

// commits are the answers that wait for their leases to be on disk.
type commits struct {
	mu     sync.Mutex
	queue  []*answer
	filled chan struct{} // has an element while queue may have some
}

// add queues a; false when the queue is full.
func (c *commits) add(a *answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) >= mostQueued {
		return false
	}
	c.queue = append(c.queue, a)
	select {
	case c.filled <- struct{}{}:
	default:
	}
	return true
}

// take empties the queue.
func (c *commits) take() []*answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	group := c.queue
	c.queue = nil
	return group
}

// commit stores what queues, all of it in one transaction at a time, and sends
// the answers, until ctx ends.
func (s *Service) commit(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.commits.filled:
		}
		s.store(s.commits.take())
	}
}

// store writes the leases of group in one transaction. Only then are its
// answers sent; if it fails nobody gets one.
func (s *Service) store(group []*answer) {
	if len(group) == 0 {
		return
	}
	leases, begun := leasesOf(group), time.Now()
	err := s.host.Store.CommitLeases(leases, nil)
	s.metrics.Committed(len(leases), time.Since(begun), err)
	s.settle(group, err)
	if err != nil {
		return
	}
	for _, a := range group {
		s.send(a)
	}
}

// settle notes the outcome of a transaction.
func (s *Service) settle(group []*answer, err error) {
	s.mu.Lock()
	now := s.unix()
	for _, a := range group {
		for i := range a.Records {
			if err == nil {
				s.engine.Stored(&a.Records[i])
			} else {
				s.engine.Lost(&a.Records[i], now)
			}
		}
	}
	s.mu.Unlock()
	for _, a := range group {
		if a.stored != nil {
			a.stored <- err // has room
			a.stored = nil
		}
	}
	s.transactions.Add(1)
	text := ""
	if err != nil {
		s.failures.Add(1)
		text = "pool leases of IPv6 cannot be stored, so none are given: " + err.Error() + "; free space in the state folder or repair its disk. Machines in helper.yaml are served"
	}
	if old := s.unstorable.Swap(&text); err != nil && *old == "" { // told once, and not for every group
		s.host.Events.Emit(timeline.Event{Kind: timeline.DHCPFailed, Detail: text})
		s.host.Log.Error("pool leases not stored", "err", err)
	}
}
