package artifacts

import (
	"context"
	"fmt"
	"time"

	"helperd/artifacts/fetch"
	"helperd/internal/human"
	"helperd/plan"
)

// State of a file.
type State string

// The states.
const (
	Present     State = "present"     // on this machine, verified if it has a checksum
	Downloading State = "downloading" // bytes are coming
	Verifying   State = "verifying"   // it is being read to compute its checksum
	Waiting     State = "waiting"     // for another download, or for the next attempt after a failure that may pass
	Failed      State = "failed"      // somebody must mend something; it is tried again, rarely
	DiskFull    State = "disk-full"   // goes on as soon as there is space
	Missing     State = "missing"     // a file of the user's that is not there
	OnDemand    State = "on-demand"   // fetched when a machine asks for it
)

// item is a file that is fetched or verified. It is guarded by Store.mu.
type item struct {
	key   string
	names []plan.File // under which the plan knows it; never empty

	asked   bool // on demand, and somebody has asked
	state   State
	size    int64 // in bytes; 0: not known yet
	done    int64 // bytes that are here, or that were read when verifying
	rate    rate
	problem *fetch.Failure // of the last attempt
	tried   fetch.Identity // a file of the user's, when it was verified last
	next    time.Time      // not tried again before
	fails   int            // in a row
	gained  bool           // the attempt has got something

	cancel  context.CancelFunc // of the attempt that runs; nil: none does
	dropped bool               // nobody wants it any more, and the attempt still runs
}

// keyOf is the checksum of a file that is fetched, and for one of the user's its path besides.
func keyOf(f *plan.File) string {
	if f.Fetched() {
		return f.SHA256
	}
	return f.SHA256 + " " + f.File
}

func (it *item) file() *plan.File { return &it.names[0] }

// wanted reports whether it is to be fetched without being asked for.
func (it *item) wanted() bool {
	for i := range it.names {
		if !it.names[i].OnDemand {
			return true
		}
	}
	return it.asked
}

// await makes it one that is not here, to be fetched now or when it is asked for.
func (it *item) await() {
	it.state, it.next = Waiting, time.Time{}
	if !it.wanted() {
		it.state = OnDemand
	}
}

// rank orders items: a node needs its kernel first.
func (it *item) rank() int {
	best := 9
	for i := range it.names {
		r := map[string]int{plan.PartKernel: 0, plan.PartInitramfs: 1, plan.PartRootfs: 2, plan.PartMetal: 2, plan.PartISO: 3}[it.names[i].Part]
		if it.names[i].OnDemand {
			r += 4
		}
		best = min(best, r)
	}
	return best
}

// rate is the speed of the last seconds.
type rate struct {
	perSecond float64
	at        time.Time
	done      int64
}

// add notes that done bytes are here, and reports whether a second has passed.
func (r *rate) add(now time.Time, done int64) bool {
	if r.at.IsZero() {
		r.at, r.done = now, done
		return false
	}
	took := now.Sub(r.at).Seconds()
	if took < 1 {
		return false
	}
	const old = 0.7 // the share of what was before: a figure that can be read
	speed := float64(done-r.done) / took
	if r.perSecond > 0 {
		speed = old*r.perSecond + (1-old)*speed
	}
	*r = rate{speed, now, done}
	return true
}

// notYet says why f cannot be sent now, and what comes next.
func (s *Store) notYet(f *plan.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[keyOf(f)]
	if it == nil {
		return fmt.Errorf("%s is not on the helper yet; ask again in some seconds", f.Path)
	}
	if it.state == Present { // and Path has found that it has changed
		return fmt.Errorf("%s: it has changed on the helper and is verified again; ask again in some seconds", f.Path)
	}
	return fmt.Errorf("%s: %s", f.Path, it.detail(time.Now()))
}

// detail says in words what the state is.
func (it *item) detail(now time.Time) string {
	switch it.state {
	case Present:
		return ""
	case OnDemand:
		return "fetched when a machine asks for it; ask again in a minute"
	case Downloading:
		return it.progress() + " downloaded"
	case Verifying:
		return it.progress() + " verified"
	}
	if it.problem == nil {
		return "waits for the other downloads"
	}
	text := it.problem.Text
	if wait := it.next.Sub(now).Round(time.Second); wait > 0 && it.state != DiskFull && it.state != Missing {
		text += fmt.Sprintf("; tried again in %s", wait)
	}
	return text
}

func (it *item) progress() string {
	if it.size > 0 {
		return fmt.Sprintf("%d %% of %s", it.done*100/it.size, human.Size(it.size))
	}
	return human.Size(it.done)
}
