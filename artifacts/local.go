package artifacts

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"helperd/artifacts/fetch"
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

// lookAt finds out whether a fetched file is gone, or one of the user's is to be verified once more.
func (s *Store) lookAt(it *item) {
	f := it.file()
	if f.Fetched() {
		if _, err := os.Lstat(s.folder.Whole(it.key)); it.state == Present && errors.Is(err, fs.ErrNotExist) {
			s.opt.Log.Warn("artifact gone", "file", s.folder.Whole(it.key))
			s.lose(it.key, "somebody removed it from the helper's disk; it is fetched again")
		}
		return
	}
	changed := false
	switch it.state {
	case Present:
		changed = !s.verified(f)
	case Missing, Failed:
		id, err := fetch.Identify(f.File)
		changed = err == nil && id != it.tried
	}
	if changed {
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
		case damaged(err) || err == nil && got != sum:
			s.opt.Log.Error("artifact damaged", "file", s.folder.Whole(sum), "err", err)
			s.mu.Lock()
			_ = os.Remove(s.folder.Whole(sum)) // the next download replaces it
			s.lose(sum, "its content on the helper's disk is not what it was; it is fetched again; look for errors of the disk in the kernel log")
			s.mu.Unlock()
		case err != nil && !errors.Is(err, fs.ErrNotExist): // lookAt finds what is gone
			s.opt.Log.Warn("artifact not verified anew", "file", s.folder.Whole(sum), "err", err)
		}
	}
}

// damaged reports whether a file that was not read is lost. Where descriptors or
// memory are short, or the right to read, nothing is wrong with the file itself.
func damaged(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.EBADMSG)
}

// lose notes that the whole file of sum is no more; text says why.
func (s *Store) lose(sum, text string) {
	s.ready.Delete(sum)
	if it := s.items[sum]; it != nil {
		s.opt.Events.Emit(timeline.Event{Kind: timeline.ArtifactFailed, File: it.file().Path, Detail: text})
		it.await()
	}
	s.settle()
	signal(s.changed)
	signal(s.wake)
}
