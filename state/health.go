package state

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// RetryEvery is how often a disk that failed is to be tried.
	RetryEvery = time.Second
	// stalledAfter is how long one transaction may take before the disk counts as failed.
	stalledAfter = 5 * time.Second
)

// Health is what a service knows of the disk that its leases go to. One
// goroutine writes; all methods may be called by others meanwhile.
type Health struct {
	// Halt is called with true when nothing can be stored, and with false when it can again.
	Halt func(bool)
	// Tell is called when that changes: why nothing can be stored, or nil.
	Tell func(error)

	failing atomic.Pointer[error]
	began   atomic.Int64 // when the transaction under way began, Unix nanoseconds; 0: there is none
}

// Failing says why nothing can be stored, or nil.
func (h *Health) Failing() error {
	if err := h.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// Commit stores leases, as CommitLeases does.
func (h *Health) Commit(s LeaseStore, leases []Lease) error {
	return h.write(func() error { return s.CommitLeases(leases, nil) })
}

// Retry tries a disk that failed. It reports whether things can be stored.
func (h *Health) Retry(s LeaseStore) bool {
	return h.failing.Load() == nil || h.write(s.Try) == nil
}

func (h *Health) write(do func() error) error {
	h.began.Store(time.Now().UnixNano())
	err := do()
	h.began.Store(0)
	if err != nil {
		h.fail(fmt.Errorf("%w; free space in the state folder or repair its disk", err))
	} else if h.failing.Load() != nil {
		h.Halt(false)
		h.failing.Store(nil)
		h.Tell(nil)
	}
	return err
}

// Watch notices a transaction that hangs.
func (h *Health) Watch(now time.Time) {
	began := h.began.Load()
	if d := time.Duration(now.UnixNano() - began); began != 0 && d >= stalledAfter {
		h.fail(fmt.Errorf("a write to the state folder takes more than %s; look at its disk", d.Truncate(stalledAfter)))
	}
}

func (h *Health) fail(why error) {
	h.Halt(true)
	if h.failing.Swap(&why) == nil {
		h.Tell(why) // once, and not for every group
	}
}
