// Package watch tells when the content of a file has changed, however it was
// changed: written in place, replaced by rename as editors and sed -i do, or by
// swapping a symbolic link to its folder as Kubernetes does.
package watch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

const (
	// quiet is how long nothing must happen before the file is read: editors
	// write in several steps.
	quiet = 200 * time.Millisecond
	// patience bounds the wait for quiet when the folder is never quiet.
	patience = time.Second
	// poll finds changes that raised no event, as on network file systems.
	poll = 5 * time.Second
)

// Content is what was read at once: later steps use these bytes and never the file again.
type Content struct {
	Bytes []byte
	Err   error // why the file could not be read; Bytes is nil then
	// Look counts the times that the file was read: the content with the highest is the latest.
	Look uint64
}

func (c Content) equal(o Content) bool {
	if c.Err != nil && o.Err != nil {
		return c.Err.Error() == o.Err.Error()
	}
	return c.Err == nil && o.Err == nil && bytes.Equal(c.Bytes, o.Bytes)
}

// File watches one file.
type File struct {
	path  string
	limit int64
	log   *slog.Logger
	poll  time.Duration
	up    func() // called when the watch is up; a hook for tests

	mu   sync.Mutex
	last Content // guarded by mu
}

// New reads path, at most limit bytes and one more so that the reader sees
// that it is too long, and gives a watcher with what was read.
func New(path string, limit int64, log *slog.Logger) (*File, Content) {
	f := &File{path: path, limit: limit, log: log, poll: poll, up: func() {}}
	return f, f.Look()
}

// Look reads the file now. Run does not tell of what Look has seen.
func (f *File) Look() Content {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.look()
}

func (f *File) look() Content {
	c := f.read()
	c.Look = f.last.Look + 1
	f.last = c
	return c
}

// news reads the file and reports whether it is not as it was.
func (f *File) news() (Content, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.last
	return f.look(), !f.last.equal(before)
}

// differs reports whether the file is not as it was, and leaves it to be news.
func (f *File) differs() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.read().equal(f.last)
}

func (f *File) read() Content {
	r, err := os.OpenFile(f.path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return Content{Err: err}
	}
	defer func() { _ = r.Close() }()
	if st, err := r.Stat(); err == nil && !st.Mode().IsRegular() {
		return Content{Err: fmt.Errorf("%s is no regular file", f.path)}
	}
	b, err := io.ReadAll(io.LimitReader(r, f.limit+1))
	if err != nil {
		return Content{Err: fmt.Errorf("read %s: %w", f.path, err)}
	}
	return Content{Bytes: b}
}

// Run calls changed with every new content until ctx ends.
func (f *File) Run(ctx context.Context, changed func(Content)) error {
	var events chan fsnotify.Event
	var errs chan error
	follow := func() {}
	if w, err := fsnotify.NewWatcher(); err != nil {
		// Out of inotify instances: polling still finds every change.
		f.log.Warn("changes are found by polling only; raise fs.inotify.max_user_instances", "err", err)
	} else {
		defer func() { _ = w.Close() }()
		events, errs = w.Events, w.Errors
		follow = func() { f.follow(w) }
	}
	follow()
	f.up()
	ticks := time.NewTicker(f.poll)
	defer ticks.Stop()
	due := time.After(quiet) // when the folder has been quiet; something may have changed before the watch was up
	first := time.Now()      // of the events since the last read
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-events:
			if !open {
				return fmt.Errorf("watch of %s ended", f.path)
			}
		case err := <-errs:
			f.log.Warn("file watch", "file", f.path, "err", err)
		case <-ticks.C:
			follow() // folders may have been made anew
			if due != nil || !f.differs() {
				continue
			}
		case <-due:
			due = nil
			follow()
			if c, ok := f.news(); ok {
				changed(c)
			}
			continue
		}
		if due == nil {
			first = time.Now()
		}
		due = time.After(min(quiet, max(0, patience-time.Since(first))))
	}
}

// follow watches the folder of the file and the folders of everything that it
// links to. Adding a folder twice does nothing.
func (f *File) follow(w *fsnotify.Watcher) {
	path := f.path
	for range 10 { // links may form a circle
		if err := w.Add(filepath.Dir(path)); err != nil {
			f.log.Debug("folder is not watched", "file", filepath.Dir(path), "err", err)
		}
		target, err := os.Readlink(path)
		if err != nil {
			return
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
}
