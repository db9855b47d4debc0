package http

import (
	"errors"
	"io"
	"math"
	nethttp "net/http"
	"os"
	"time"
)

const (
	// tick is the longest wait for a client between two looks at the clock.
	tick = time.Second
	// sendChunk in bytes is the most that leaves between two looks at the clock.
	sendChunk = 16 << 20
)

// errStalled ends a download whose client takes nothing.
var errStalled = errors.New("the client took nothing for too long")

// writer counts what leaves, looks at the clock, and cuts a client that takes
// nothing for the stall time. Files still leave by sendfile.
type writer struct {
	nethttp.ResponseWriter
	control  *nethttp.ResponseController
	stall    time.Duration
	status   int
	sent     int64           // bytes of the body
	err      error           // the first of the connection
	progress func(time.Time) // after every chunk; nil: nobody asks
}

// Unwrap lets a ResponseController find the connection.
func (w *writer) Unwrap() nethttp.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = nethttp.StatusOK
	}
	w.wait(w.stall)
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	w.failed(err)
	return n, err
}

// flush writes out what is buffered.
func (w *writer) flush() error {
	w.wait(w.stall)
	err := w.control.Flush()
	w.failed(err)
	return err
}

// ReadFrom implements io.ReaderFrom: io.Copy comes here with a file.
func (w *writer) ReadFrom(src io.Reader) (total int64, err error) {
	limit, ok := src.(*io.LimitedReader)
	if !ok {
		limit = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	rf, fast := w.ResponseWriter.(io.ReaderFrom)
	if _, isFile := limit.R.(*os.File); !isFile || !fast {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	if w.status == 0 {
		w.status = nethttp.StatusOK
	}
	// The header leaves first: after this only sendfile writes, which can go on
	// after a time-out where it stopped.
	if err := w.flush(); err != nil {
		return 0, err
	}
	defer w.wait(w.stall)
	moved := time.Now()
	for limit.N > 0 {
		w.wait(min(tick, w.stall))
		n, err := rf.ReadFrom(&io.LimitedReader{R: limit.R, N: min(limit.N, sendChunk)})
		total, limit.N = total+n, limit.N-n
		w.sent += n
		now := time.Now()
		if n > 0 {
			moved = now
			if w.progress != nil {
				w.progress(now)
			}
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && now.Sub(moved) < w.stall:
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.failed(errStalled)
			return total, errStalled
		case err != nil:
			w.failed(err)
			return total, err
		case n == 0:
			return total, nil // the file is shorter than it was
		}
	}
	return total, nil
}

// wait makes d from now the deadline of what is written next. The connection
// of a test has none; a real one cannot fail here but closed, which the write shows.
func (w *writer) wait(d time.Duration) { _ = w.control.SetWriteDeadline(time.Now().Add(d)) }

func (w *writer) failed(err error) {
	if w.err == nil && err != nil {
		w.err = err
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.err = errStalled
		}
	}
}
