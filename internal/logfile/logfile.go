// Package logfile is a log of lines in a file of its own, for what happens too
// often for the journal. Writers append to memory and never wait for the disk;
// one goroutine writes it out and begins a new file when the old one is full.
package logfile

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	every    = time.Second // between two writes
	maxBytes = 4 << 20     // in memory; what comes on top while the disk hangs is lost
	early    = 256 << 10   // bytes in memory that are written before their time
)

// File is a log file. Path.1 is the one before, Path.2 the one before that.
type File struct {
	path  string
	limit int64 // bytes of a file
	wake  chan struct{}

	mu    sync.Mutex
	lines []byte
	spare []byte // what was written last, to be filled again
	lost  uint64

	disk sync.Mutex // guards what follows; held while writing
	file *os.File
	size int64
}

// New gives a log at path, of at most three files of limit bytes. Nothing is
// opened before there is something to write.
func New(path string, limit int64) *File {
	return &File{path: path, limit: limit, wake: make(chan struct{}, 1)}
}

// Append lets add append one line, with its end, to what is to be written.
func (f *File) Append(add func([]byte) []byte) {
	f.mu.Lock()
	if len(f.lines) >= maxBytes {
		f.lost++
		f.mu.Unlock()
		return
	}
	before := len(f.lines)
	f.lines = add(f.lines)
	full := before < early && len(f.lines) >= early
	f.mu.Unlock()
	if full {
		select {
		case f.wake <- struct{}{}:
		default: // the writer is awake
		}
	}
}

// Lost is the number of lines that were given up because the disk could not keep up.
func (f *File) Lost() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

// Serve writes until ctx ends, and then what is left. It tells outcome how each write
// ended; lines of a failed one are lost, and the next one is tried.
func (f *File) Serve(ctx context.Context, outcome func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-f.wake:
		}
		outcome(f.Flush())
	}
	outcome(f.close())
}

// Flush writes what is in memory.
func (f *File) Flush() error {
	f.disk.Lock()
	defer f.disk.Unlock()
	f.mu.Lock()
	lines := f.lines
	f.lines = f.spare[:0]
	f.mu.Unlock()
	err := f.write(lines)
	f.mu.Lock()
	f.spare = lines
	f.mu.Unlock()
	return err
}

func (f *File) write(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if f.file != nil && f.size >= f.limit {
		f.rotate()
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	n, err := f.file.Write(lines)
	f.size += int64(n)
	if err != nil {
		_ = f.file.Close() // opened again next time: the folder may be a new one
		f.file = nil
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	st, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return err
	}
	f.file, f.size = file, st.Size()
	return nil
}

// rotate begins a new file. Where renaming fails the old one goes on growing by
// what is written until it succeeds: losing lines would be worse.
func (f *File) rotate() {
	_ = f.file.Close()
	f.file = nil
	_ = os.Rename(f.path+".1", f.path+".2")
	_ = os.Rename(f.path, f.path+".1")
}

func (f *File) close() error {
	err := f.Flush()
	f.disk.Lock()
	defer f.disk.Unlock()
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
	return err
}
