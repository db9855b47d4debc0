package tftp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// content is what one transfer sends.
type content interface {
	// size in bytes; -1: known at the end only.
	size() int64
	// at gives n bytes from off, fewer only at the end of the content. The
	// bytes are good until the next call.
	at(off int64, n int) ([]byte, error)
	// passed says that nothing below off is asked for again.
	passed(off int64)
	close()
}

// memory is content that is held whole: rendered files and cached ones.
type memory []byte

func (m memory) size() int64 { return int64(len(m)) }

func (m memory) at(off int64, n int) ([]byte, error) {
	if off >= int64(len(m)) {
		return nil, nil
	}
	return m[off:min(off+int64(n), int64(len(m)))], nil
}

func (m memory) passed(int64) {}
func (m memory) close()       {}

// fileBuffer is how much of a large file is read at once, in bytes; the
// largest UDP segment train fits into it.
const fileBuffer = 64 << 10

// file is a large file, read by pread as the client comes along. It is never
// mapped: a file that shrinks would end the process by SIGBUS.
type file struct {
	f     *os.File
	len   int64
	buf   []byte // holds bytes from start
	start int64
}

func (f *file) size() int64 { return f.len }

func (f *file) at(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), max(f.len-off, 0)))
	if off >= f.start && off+int64(n) <= f.start+int64(len(f.buf)) {
		return f.buf[off-f.start:][:n], nil
	}
	if f.buf == nil {
		f.buf = make([]byte, 0, fileBuffer)
	}
	want := int(min(int64(max(n, fileBuffer)), f.len-off))
	if cap(f.buf) < want {
		f.buf = make([]byte, 0, want)
	}
	got, err := f.f.ReadAt(f.buf[:want], off)
	f.buf, f.start = f.buf[:got], off
	if got < n {
		return nil, fmt.Errorf("read %s: %d of %d bytes at %d: %w", f.f.Name(), got, n, off, err)
	}
	return f.buf[:n], nil
}

func (f *file) passed(int64) {}
func (f *file) close()       { _ = f.f.Close() }

// netascii is content with the line ends of RFC 764: LF becomes CR LF, CR
// becomes CR NUL. It is converted as the client comes along and kept until it
// is passed, because the size is known at the end only.
type netascii struct {
	under content
	r     *bufio.Reader
	buf   []byte // converted bytes from start
	start int64
	end   bool
}

func newNetascii(c content) *netascii {
	return &netascii{under: c, r: bufio.NewReader(&contentReader{c: c})}
}

func (a *netascii) size() int64 { return -1 }

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

func (a *netascii) close() { a.under.close() }

// contentReader reads content from its start.
type contentReader struct {
	c   content
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
