package artifacts

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"helperd/artifacts/fetch"
	"helperd/internal/files"
	"helperd/plan"
	"helperd/timeline"
)

// verified reports whether f, a file of the user's with a checksum, is as it was when it was verified.
func (s *Store) verified(f *plan.File) bool {
	want, ok := s.checked.Load(keyOf(f))
	if !ok {
		return false
	}
	id, err := fetch.Identify(f.File)
	return err == nil && id == want.(fetch.Identity)
}

// lookAt finds out whether a file of the user's is to be verified once more.
func (s *Store) lookAt(it *item) {
	f := it.file()
	if it.state == Present && !s.verified(f) || it.state == Missing && files.Regular(f.File) == nil {
		it.state, it.problem, it.next = Waiting, nil, time.Time{}
	}
}

// verifyStore reads all files of the store once, slowly: a disk may have lost
// what it promised, or a person may have written into one.
func (s *Store) verifyStore(ctx context.Context) {
	for _, sum := range s.folder.Sums() {
		got, err := fetch.Sum(ctx, s.folder.Whole(sum))
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, fs.ErrNotExist), err == nil && got == sum:
			continue
		}
		text := "its content on the helper's disk is not what it was; it is fetched again; look for errors of the disk in the kernel log"
		s.opt.Log.Error("artifact damaged", "file", s.folder.Whole(sum), "err", err)
		s.mu.Lock()
		s.ready.Delete(sum)
		if it := s.items[sum]; it != nil {
			s.opt.Events.Emit(timeline.Event{Kind: timeline.ArtifactFailed, File: it.file().Path, Detail: text})
			it.state, it.next = Waiting, time.Time{}
		}
		_ = os.Remove(s.folder.Whole(sum)) // the next download replaces it
		s.settle()
		signal(s.changed)
		signal(s.wake)
		s.mu.Unlock()
	}
}
