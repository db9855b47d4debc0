package dhcp6

import (
	"context"
	"sync"
	"time"

	"helperd/services/dhcp6/engine"
	"helperd/state"
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
	retry := time.NewTicker(state.RetryEvery)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
			s.catchUp()
		case <-s.commits.filled:
			s.store(s.commits.take())
		}
	}
}

// store writes the leases of group in one transaction. Only then are its
// answers sent; if it fails nobody gets one.
func (s *Service) store(group []*answer) {
	if len(group) == 0 {
		return
	}
	leases, begun := leasesOf(group), time.Now()
	err := s.disk.Commit(s.host.Leases, leases)
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
	if err != nil {
		s.failures.Add(1)
	}
}

// write queues records that belong to no answer. What finds no room is left for
// later. The caller holds s.mu.
func (s *Service) write(records []engine.Record, now int64) {
	if len(records) > 0 && !s.commits.add(&answer{Answer: engine.Answer{Records: records}}) {
		s.lose(records, now)
	}
}

// lose leaves records that cannot be stored now. The caller holds s.mu.
func (s *Service) lose(records []engine.Record, now int64) {
	for i := range records {
		s.engine.Lost(&records[i], now)
	}
}
