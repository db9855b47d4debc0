package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Content is what one transfer sends: Memory, or what NewFile or NewNetascii gives.
type Content interface {
	// Size in bytes; -1: known at the end only.
	Size() int64
	// ready reports whether at gives these bytes without waiting for a disk.
	ready(off int64, n int) bool
	// at gives n bytes from off, fewer only at the end of the content. The
	// bytes are good until the next call.
	at(off int64, n int) ([]byte, error)
	// passed says that nothing below off is asked for again.
	passed(off int64)
	// Close gives back what it holds.
	Close()
}

// Memory is content that is held whole: rendered files and cached ones.
type Memory []byte

// Size implements Content.
func (m Memory) Size() int64 { return int64(len(m)) }

func (m Memory) ready(int64, int) bool { return true }

func (m Memory) at(off int64, n int) ([]byte, error) {
	if off >= int64(len(m)) {
		return nil, nil
	}
	return m[off:min(off+int64(n), int64(len(m)))], nil
}

func (m Memory) passed(int64) {}

// Close implements Content.
func (m Memory) Close() {}

const (
	// fileBuffer is how much of a large file is read at once, in bytes; the
	// largest UDP segment train fits into it.
	fileBuffer = 64 << 10
	// readAhead is how much is read at once in lock step and by small windows,
	// in blocks or windows: the buffers of two hundred transfers have to fit
	// into the CPU's cache, and a read costs less than what misses it.
	readAhead = 8
	// firstBuffer is that for its first bytes: who has not answered yet costs little.
	firstBuffer = 2 << 10
)

// file is a large file, read by pread as the client comes along. It is never
// mapped: a file that shrinks would end the process by SIGBUS.
type file struct {
	f     *os.File
	fd    int
	len   int64
	buf   []byte // holds bytes from start
	start int64
}

// NewFile gives the first size bytes of f, which it takes over.
func NewFile(f *os.File, size int64) Content { return &file{f: f, fd: int(f.Fd()), len: size} }

// Size implements Content.
func (f *file) Size() int64 { return f.len }

// within gives n bytes, or those that there are, from the buffer.
func (f *file) within(off int64, n int) (b []byte, ok bool) {
	n = int(min(int64(n), max(f.len-off, 0)))
	if off < f.start || off+int64(n) > f.start+int64(len(f.buf)) {
		return nil, false
	}
	return f.buf[off-f.start:][:n], true
}

// ready fills the buffer with what the page cache holds. File systems that
// cannot say what it holds are read by whoever may wait.
func (f *file) ready(off int64, n int) bool {
	if _, ok := f.within(off, n); ok {
		return true
	}
	into := f.space(off, n)
	got, err := unix.Preadv2(f.fd, [][]byte{into}, off, unix.RWF_NOWAIT)
	if err != nil {
		got = 0
	}
	f.buf, f.start = into[:got], off
	_, ok := f.within(off, n)
	return ok
}

func (f *file) at(off int64, n int) ([]byte, error) {
	if b, ok := f.within(off, n); ok {
		return b, nil
	}
	into := f.space(off, n)
	got, err := f.f.ReadAt(into, off)
	f.buf, f.start = into[:got], off
	if b, ok := f.within(off, n); ok {
		return b, nil
	}
	return nil, fmt.Errorf("read %s: %d of %d bytes at %d: %w", f.f.Name(), got, n, off, err)
}

// space is where at least n bytes from off are read to.
func (f *file) space(off int64, n int) []byte {
	ahead := min(readAhead*n, fileBuffer)
	if off == 0 {
		ahead = firstBuffer
	}
	want := int(min(int64(max(n, ahead)), max(f.len-off, 0)))
	if cap(f.buf) < want {
		f.buf = make([]byte, max(want, ahead))
	}
	return f.buf[:want]
}

func (f *file) passed(int64) {}

// Close implements Content.
func (f *file) Close() { _ = f.f.Close() }

// netascii is content with the line ends of RFC 764: LF becomes CR LF, CR
// becomes CR NUL. It is converted as the client comes along and kept until it
// is passed, because the size is known at the end only.
type netascii struct {
	under Content
	r     *bufio.Reader
	buf   []byte // converted bytes from start
	start int64
	end   bool
}

// NewNetascii converts c, which it takes over.
func NewNetascii(c Content) Content {
	return &netascii{under: c, r: bufio.NewReader(&contentReader{c: c})}
}

// Size implements Content.
func (a *netascii) Size() int64 { return -1 }

func (a *netascii) ready(off int64, n int) bool {
	_, held := a.under.(Memory)
	return held || a.end || int64(len(a.buf)) >= off-a.start+int64(n)
}

func (a *netascii) at(off int64, n int) ([]byte, error) {
	for !a.end && int64(len(a.buf)) < off-a.start+int64(n) {
		b, err := a.r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			a.end = true
		case err != nil:
			return nil, err
		case b == '\n':
			a.buf = append(a.buf, '\r', '\n')
		case b == '\r':
			a.buf = append(a.buf, '\r', 0)
		default:
			a.buf = append(a.buf, b)
		}
	}
	from := min(off-a.start, int64(len(a.buf)))
	return a.buf[from:min(from+int64(n), int64(len(a.buf)))], nil
}

func (a *netascii) passed(off int64) {
	done := min(off-a.start, int64(len(a.buf))) // the last block is short
	n := copy(a.buf, a.buf[done:])
	a.buf, a.start = a.buf[:n], a.start+done
}

// Close implements Content.
func (a *netascii) Close() { a.under.Close() }

// contentReader reads content from its start.
type contentReader struct {
	c   Content
	off int64
}

func (r *contentReader) Read(p []byte) (int, error) {
	b, err := r.c.at(r.off, len(p))
	if err == nil && len(b) == 0 {
		err = io.EOF
	}
	r.off += int64(len(b))
	return copy(p, b), err
}
