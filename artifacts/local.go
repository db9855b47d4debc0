package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

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
	id, err := identify(f.File)
	return err == nil && id == want.(identity)
}

// lookAt finds out whether a file of the user's is to be verified once more.
func (s *Store) lookAt(it *item) {
	f := it.file()
	if it.state == Present && !s.verified(f) || it.state == Missing && files.Regular(f.File) == nil {
		it.state, it.problem, it.next = Waiting, nil, time.Time{}
	}
}

// verify reads a file of the user's and compares its checksum.
func (s *Store) verify(ctx context.Context, it *item, f *plan.File) error {
	if s.verified(f) { // before a restart
		id, _ := s.checked.Load(it.key)
		s.mu.Lock()
		it.size = id.(identity).Size
		s.mu.Unlock()
		return nil
	}
	s.checked.Delete(it.key)
	r, err := os.OpenFile(f.File, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return unreadable(err)
	}
	defer func() { _ = r.Close() }()
	st, err := r.Stat()
	if err != nil {
		return unreadable(err)
	}
	before, err := identityOf(st)
	if err != nil {
		return unreadable(err)
	}
	h := sha256.New()
	if err := s.hash(ctx, it, h, r, before.Size); err != nil {
		return unreadable(err)
	}
	if after, err := identify(f.File); err != nil || after != before {
		return &failure{state: Waiting, text: "the file changed while it was verified"}
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != f.SHA256 {
		return mismatch(sum, f.SHA256, "the file on the helper", "replace the file or correct the sha256 in the configuration")
	}
	s.checked.Store(it.key, before)
	return nil
}

// hash adds what r has to h and shows how far it is; size is the whole.
func (s *Store) hash(ctx context.Context, it *item, h hash.Hash, r io.Reader, size int64) error {
	s.mu.Lock()
	it.state, it.size, it.done = Verifying, size, 0
	s.mu.Unlock()
	buf := make([]byte, bufferSize)
	for {
		n, err := r.Read(buf)
		_, _ = h.Write(buf[:n]) // a hash takes everything
		s.mu.Lock()
		it.done += int64(n)
		it.rate.add(time.Now(), it.done)
		s.mu.Unlock()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

func unreadable(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &failure{state: Missing, text: "it is not on the helper; put the file where the configuration says"}
	case errors.Is(err, fs.ErrPermission):
		return &failure{state: Failed, text: "it is not readable on the helper; give the user that helperd runs as the right to read it"}
	}
	return &failure{state: Failed, text: fmt.Sprintf("it is not readable on the helper: %v", files.Cause(err))}
}

func mismatch(got, want, what, do string) *failure {
	return &failure{state: Failed, slow: true, text: fmt.Sprintf("sha256 of %s is %.12s... and %.12s... is declared: it is not served; %s", what, got, want, do)}
}

// verifyStore reads all files of the store once, slowly: a disk may have lost
// what it promised, or a person may have written into one.
func (s *Store) verifyStore(ctx context.Context) {
	for _, sum := range s.disk.sums() {
		got, err := s.sumOf(ctx, s.disk.whole(sum))
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, fs.ErrNotExist), err == nil && got == sum:
			continue
		}
		text := "its content on the helper's disk is not what it was; it is fetched again; look for errors of the disk in the kernel log"
		s.opt.Log.Error("artifact damaged", "file", s.disk.whole(sum), "err", err)
		s.mu.Lock()
		s.ready.Delete(sum)
		if it := s.items[sum]; it != nil {
			s.opt.Events.Emit(timeline.Event{Kind: timeline.ArtifactFailed, File: it.file().Path, Detail: text})
			it.state, it.next = Waiting, time.Time{}
		}
		_ = os.Remove(s.disk.whole(sum)) // the next download replaces it
		s.settle()
		signal(s.changed)
		signal(s.wake)
		s.mu.Unlock()
	}
}

const (
	bufferSize = 256 << 10
	// breath is how long verifyStore pauses after each buffer: at most 250 MB a second are read.
	breath = time.Millisecond
)

func (s *Store) sumOf(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h, buf := sha256.New(), make([]byte, bufferSize)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		_, _ = h.Write(buf[:n]) // a hash takes everything
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		time.Sleep(breath)
	}
	return "", ctx.Err()
}
