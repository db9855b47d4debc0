package dhcp

import (
	"context"
	"sync"
	"time"

	"helperd/services/dhcp/engine"
	"helperd/state"
)

// mostQueued bounds the answers that wait for the disk. Past it requests are
// dropped: their clients ask again.
const mostQueued = 4096

// A group that follows one of crowd answers waits for company: a transaction
// costs the same CPU for few and for many, and takes longer than the wait on any disk.
const (
	crowd   = 16
	company = 150 * time.Microsecond
)

// commits are the answers that wait for their lease to be on disk.
type commits struct {
	mu     sync.Mutex
	queue  []*answer
	filled chan struct{} // has an element while queue may have some
}

// add queues a; false when the queue is full.
func (c *commits) add(a *answer) bool {
	c.mu.Lock()
	full := len(c.queue) >= mostQueued
	if !full {
		c.queue = append(c.queue, a)
	}
	c.mu.Unlock()
	select {
	case c.filled <- struct{}{}:
	default:
	}
	return !full
}

// take gives all that is queued and leaves the empty slice spare in its place.
func (c *commits) take(spare []*answer) []*answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	group := c.queue
	c.queue = spare[:0]
	return group
}

// commit stores what queues, all of it in one transaction at a time, and sends
// the answers, until ctx ends.
func (s *Service) commit(ctx context.Context) error {
	out := newSender(s)
	retry := time.NewTicker(state.RetryEvery)
	defer retry.Stop()
	var spare []*answer
	last := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
			s.catchUp()
			continue
		case <-s.commits.filled:
		}
		if last >= crowd {
			time.Sleep(company)
		}
		group := s.commits.take(spare)
		last = len(group)
		s.store(group, out)
		spare = s.recycle(group)
	}
}

// store writes the leases of group in one transaction. Only then are its
// answers sent; if it fails nobody gets one.
func (s *Service) store(group []*answer, out *sender) {
	if len(group) == 0 {
		return
	}
	leases := make([]state.Lease, len(group))
	for i, a := range group {
		leases[i] = a.Record.Lease
	}
	begun := time.Now()
	err := s.disk.Commit(s.host.Leases, leases)
	s.metrics.Committed(len(leases), time.Since(begun), err)
	s.settle(group, err)
	if err != nil {
		return
	}
	for _, a := range group {
		out.queue(a)
	}
	out.flush()
}

// settle notes the outcome of a transaction.
func (s *Service) settle(group []*answer, err error) {
	s.mu.Lock()
	now := s.unix()
	for _, a := range group {
		if err == nil {
			s.engine.Stored(&a.Record)
		} else {
			s.engine.Lost(&a.Record, now)
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

// unix gives the time in Unix seconds, and tells the engine when the clock was
// set. The caller holds s.mu.
func (s *Service) unix() int64 {
	now, step := s.clock.Read()
	if step != 0 {
		s.write(s.engine.Stepped(step, now), now)
	}
	return now
}

// write queues records that belong to no answer. What finds no room is left for
// later. The caller holds s.mu.
func (s *Service) write(records []engine.Record, now int64) {
	for _, r := range records {
		a := new(answer)
		a.Record, a.Durable = r, true
		if !s.commits.add(a) {
			s.engine.Lost(&r, now)
		}
	}
}
