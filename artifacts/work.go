package artifacts

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"helperd/artifacts/fetch"
	"helperd/timeline"
)

// startDue starts what is to be done now, at most atOnce at a time, and gives
// how long there is nothing more to start.
func (s *Store) startDue(ctx context.Context) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan == nil {
		return time.Hour
	}
	wait := s.startStreams(ctx)
	running := 0
	for _, it := range s.items { // those that nobody wants any more count while they run
		if it.cancel != nil {
			running++
		}
	}
	for _, it := range s.order {
		if it.cancel != nil || it.state == Present || it.state == OnDemand && !it.asked {
			continue
		}
		if left := time.Until(it.next); left > 0 {
			wait = min(wait, left)
			continue
		}
		if running == atOnce {
			break
		}
		running++
		s.start(ctx, it)
	}
	return wait
}

// start runs one attempt for it.
func (s *Store) start(ctx context.Context, it *item) {
	ctx, it.cancel = context.WithCancel(ctx)
	attempt, state := s.download, Downloading
	if !it.file().Fetched() {
		attempt, state = s.verify, Verifying
	}
	it.state, it.done, it.rate, it.gained = state, 0, rate{}, false
	file := *it.file()
	s.opt.Guard.Go("artifact "+file.Path, func() {
		err := errors.New("helperd made a mistake; its log has it")
		defer func() { s.finished(ctx, it, err) }() // also after a panic
		err = attempt(ctx, it, &file)
	})
}

// finished notes how an attempt ended.
func (s *Store) finished(ctx context.Context, it *item, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer signal(s.wake)
	canceled := ctx.Err() != nil
	it.cancel()
	it.cancel, it.rate = nil, rate{}
	_, ready := s.ready.Load(it.key)
	switch {
	case it.dropped:
		delete(s.items, it.key)
	case ready: // fetched, or brought by an import
		s.present(it)
		s.settle()
	case err == nil: // a file of the user's
		it.state, it.problem, it.fails, it.done = Present, nil, 0, it.size
		s.save()
	case canceled:
		it.state = Waiting
	default:
		s.failed(it, err)
	}
}

// failed notes why, and when it is tried again.
func (s *Store) failed(it *item, err error) {
	var f *fetch.Failure
	if !errors.As(err, &f) {
		f = &fetch.Failure{Kind: fetch.Standing, Text: err.Error(), Slow: true}
	}
	first := it.problem == nil || it.problem.Text != f.Text
	it.state, it.problem = State(f.Kind), f
	if it.gained && !f.Slow && f.Kind != fetch.DiskFull {
		it.fails = 0 // a server that gives is asked again soon
	}
	wait := backoff(s.times.retry, longestRetry, it.fails)
	if f.Slow {
		wait = backoff(s.times.slow, longestSlow, it.fails)
	}
	if f.Kind == fetch.DiskFull {
		f.Need = cmp.Or(f.Need, it.size)
		// look finds space sooner, but for a quota: that it does not see.
		wait = s.times.slow
		if free, err := s.folder.Free(); err == nil && it.gained && f.Need <= free {
			f.Need, wait = 0, backoff(s.times.slow, longestSlow, it.fails)
		}
	}
	it.fails++
	it.next = time.Now().Add(max(wait, min(f.After, longestRetry)))
	s.count.failures.Inc()
	if first { // the same again is no news
		s.opt.Log.Warn("artifact not there", "file", it.file().Path, "from", it.file().From(), "err", f.Text)
		s.opt.Events.Emit(timeline.Event{Kind: timeline.ArtifactFailed, File: it.file().Path, Detail: f.Text})
	}
	if f.Kind == fetch.DiskFull {
		s.settle() // versions that nobody needs make room
	}
}

// backoff doubles from first to longest; a part of it is chance, so that not all ask at once.
func backoff(first, longest time.Duration, fails int) time.Duration {
	d := min(first<<min(fails, 20), longest)
	return d/2 + rand.N(d/2+1)
}

// look finds what changed without telling: files of the user's, space on the
// disk, nodes that have finished.
func (s *Store) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	free, err := s.folder.Free()
	for _, it := range s.order {
		switch {
		case it.cancel != nil:
		case it.state != DiskFull:
			s.lookAt(it)
		case err == nil && it.problem.Need > 0 && free-s.claimed(it) >= it.problem.Need:
			it.next = time.Time{}
		}
	}
	s.lookAtStreams()
	if slices.ContainsFunc(s.kept, func(k *kept) bool { return !k.Since.IsZero() }) {
		s.settle()
	}
	if s.spared {
		s.collect()
	}
	signal(s.wake)
}

// claimed is how many bytes the other downloads that run will still write.
func (s *Store) claimed(but *item) int64 {
	var sum int64
	for _, it := range s.items {
		if it != but && it.cancel != nil && it.state == Downloading {
			sum += max(it.size-it.done, 0)
		}
	}
	return sum
}
