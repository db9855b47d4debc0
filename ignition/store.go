package ignition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/files"
)

const (
	// maxFile in bytes is far above any ignition file.
	maxFile = 64 << 20
	// maxKept in bytes is the most that is kept of all files together.
	maxKept = 64 << 20
	// settled is how old a change of a file must be for its identity to tell it from the next one.
	settled = time.Second
)

// Store reads ignition files, and keeps what it read while the files stay as they are.
type Store struct {
	now func() time.Time

	mu   sync.Mutex
	kept map[string]*entry
	size int64 // of the bodies that were kept since all were forgotten last
}

// New gives a store that has read nothing.
func New(now func() time.Time) *Store { return &Store{now: now, kept: map[string]*entry{}} }

// file is an ignition file as it was read.
type file struct {
	Config
	body []byte
	err  error // why it is none
}

// identity changes whenever a file does.
type identity struct {
	device, inode uint64
	size          int64
	modified      syscall.Timespec
	changed       syscall.Timespec
}

// entry is one path. Its lock is held while the file is read, so that many who ask at once wait for one.
type entry struct {
	mu   sync.Mutex
	id   identity
	file *file // nil: nothing is kept
}

func (s *Store) entry(path string) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.kept[path]
	if e == nil {
		e = &entry{}
		s.kept[path] = e
	}
	return e
}

// drop forgets e, whose file is gone.
func (s *Store) drop(path string, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[path] == e {
		delete(s.kept, path)
	}
}

// keep counts n more bytes. Above the bound all others are forgotten: who needs them reads them again.
func (s *Store) keep(path string, e *entry, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size += n; s.size > maxKept {
		s.kept, s.size = map[string]*entry{path: e}, n
	}
}

// load reads the file at path. Its error is one of the file system.
func (s *Store) load(path string) (*file, error) {
	e := s.entry(path)
	e.mu.Lock()
	defer e.mu.Unlock()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		s.drop(path, e)
		return nil, files.Cause(err)
	}
	defer func() { _ = f.Close() }()
	st, id, err := identify(f)
	if err != nil {
		return nil, err
	}
	if e.file != nil && e.id == id {
		return e.file, nil
	}
	e.file = nil
	read, err := s.read(f, st)
	if err != nil {
		return nil, err
	}
	if _, after, err := identify(f); err != nil || after != id {
		return nil, errWritten
	}
	if age := s.now().Sub(time.Unix(id.changed.Unix())); age > settled || age < -settled {
		e.id, e.file = id, read
		s.keep(path, e, int64(len(read.body)))
	}
	return read, nil
}

var (
	errWritten = errors.New("it is being written; it is asked for again")
	errNoFile  = errors.New("it is empty or not a file")
	errLarge   = fmt.Errorf("it is larger than %d MiB", maxFile>>20)
)

func identify(f *os.File) (fs.FileInfo, identity, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, identity{}, files.Cause(err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, identity{}, errors.ErrUnsupported
	}
	return st, identity{sys.Dev, sys.Ino, sys.Size, sys.Mtim, sys.Ctim}, nil
}

func (s *Store) read(f *os.File, st fs.FileInfo) (*file, error) {
	switch {
	case !st.Mode().IsRegular() || st.Size() == 0:
		return nil, errNoFile
	case st.Size() > maxFile:
		return nil, errLarge
	}
	body, err := io.ReadAll(io.LimitReader(f, st.Size()+1))
	if err != nil {
		return nil, files.Cause(err)
	}
	if int64(len(body)) != st.Size() {
		return nil, errWritten
	}
	out := &file{body: body}
	out.Config, out.err = Parse(body)
	return out, nil
}
