package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

var (
	errPanic  = errors.New("the file is damaged or its disk fails")
	errClosed = errors.New("the state file is not open")
)

// guarded turns what a damaged file or a dying disk does to bbolt, a panic or a
// fault of its memory map, into errPanic.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errPanic, v)
		}
	}()
	return do()
}

// open maps the file into memory. The caller holds s.mu for writing, or is the only user of s.
func (s *Store) open(flags int) error {
	var db *bbolt.DB
	var file *os.File
	err := guarded(func() (err error) {
		db, err = bbolt.Open(s.path, 0o600, &bbolt.Options{
			Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
			OpenFile: func(path string, flag int, mode os.FileMode) (f *os.File, err error) {
				f, err = os.OpenFile(path, flag&^os.O_CREATE|flags, mode)
				file = f
				return f, err
			},
		})
		return err
	})
	if errors.Is(err, errPanic) && file != nil {
		_ = file.Close() // bbolt did not come to it
	}
	if err != nil {
		return err
	}
	s.db, s.file = db, file
	return nil
}

// drop lets the file go. The caller holds s.mu for writing.
func (s *Store) drop() error {
	db := s.db
	if s.db = nil; db == nil {
		return nil
	}
	return guarded(db.Close)
}

// abandon lets the file go after a panic, which may have left bbolt's locks held.
// Without the descriptor the lock of the file is free; the memory map stays until
// the process ends.
func (s *Store) abandon(db *bbolt.DB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == db {
		s.db = nil
		_ = s.file.Close()
	}
}

// on does something with bbolt, and abandons it when it panics.
func (s *Store) on(do func(*bbolt.DB) error) error {
	s.mu.RLock()
	db := s.db
	err := errClosed
	if db != nil {
		err = guarded(func() error { return do(db) })
	}
	s.mu.RUnlock()
	if errors.Is(err, errPanic) {
		s.abandon(db)
	}
	return err
}

// view reads in one transaction.
func (s *Store) view(read func(*bbolt.Tx) error) error {
	return s.on(func(db *bbolt.DB) error { return db.View(read) })
}

// update writes in one transaction. All of it is on disk when the call returns
// without an error. After an error none of it counts, though a part may be there.
func (s *Store) update(write func(*bbolt.Tx) error) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	if s.closed {
		return errClosed
	}
	if s.failed != nil {
		if s.failed = s.reopen(); s.failed != nil {
			return s.failed
		}
	}
	s.failed = s.on(func(db *bbolt.DB) error { return db.Update(write) })
	return s.failed
}

// reopen begins anew after a failed write. What bbolt has in memory then need
// not be what the disk has: when the root page (meta) was written and not
// synchronised, bbolt goes on from the page cache's root, whose pages the kernel
// may have marked clean though they never reached the disk, and would write over
// pages that the root on disk still needs. A later success of fdatasync says
// nothing of the earlier write.
func (s *Store) reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.settle(); err != nil {
		return err
	}
	if err := s.drop(); err != nil {
		return fmt.Errorf("close %s: %w", s.path, err)
	}
	if err := s.open(0); err != nil {
		return fmt.Errorf("open %s again: %w", s.path, err)
	}
	return nil
}

// settle makes disk and page cache agree on the root: both root pages are
// written again as the page cache has them, and synchronised. Whichever of them is
// the latest, its pages were synchronised before it was written.
func (s *Store) settle() error {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, s.info) {
		return fmt.Errorf("%s is not the file any more that helperd opened; put that one back, or restart helperd to go on with this one", s.path)
	}
	roots := make([]byte, 2*s.pageSize)
	if _, err := f.ReadAt(roots, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(roots, 0); err != nil {
		return err
	}
	return f.Sync()
}

// inspect reads the whole file, so that damage is found now and not when a node needs what is lost.
func (s *Store) inspect() error {
	return s.view(func(tx *bbolt.Tx) error {
		info, err := s.file.Stat()
		if err != nil {
			return err
		}
		s.info, s.pageSize = info, s.db.Info().PageSize
		if info.Size() < tx.Size() {
			return fmt.Errorf("the file is cut off: it has %d of %d bytes", info.Size(), tx.Size())
		}
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
}

// prepare makes the buckets that are not there. A file that has all of them is
// not written to: helperd starts with a full disk too.
func (s *Store) prepare() error {
	missing := 0
	err := s.view(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				missing++
			}
		}
		return nil
	})
	if err != nil || missing == 0 {
		return err
	}
	return s.update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// start opens the file for the first time.
func (s *Store) start() error {
	_, err := os.Stat(s.path)
	fresh := errors.Is(err, os.ErrNotExist)
	if err = s.open(os.O_CREATE); err == nil {
		if err = s.inspect(); err == nil {
			err = s.prepare()
		}
		if err != nil {
			_ = s.drop()
		}
	}
	switch {
	case err == nil && fresh:
		return syncFolder(filepath.Dir(s.path))
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("open %s: another helperd uses it; stop that one, or give this one a folder of its own with --state", s.path)
	case err != nil && fresh:
		_ = os.Remove(s.path) // half a file would pass for a damaged one
		return fmt.Errorf("make %s: %w; free space in its folder, or give helperd another one with --state", s.path, err)
	case err != nil:
		return fmt.Errorf("open %s: %w; if the file is damaged, move it away: helperd starts without it and forgets pool leases and which nodes are installed", s.path, err)
	}
	return nil
}

// syncFolder puts the names in a folder on disk.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
