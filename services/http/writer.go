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

// errStalled ends a download whose client takes too little.
var errStalled = errors.New("the client took too little for too long")

// minTake in bytes is what a client must take of a large file within the stall
// time: 1 KiB/s. One byte a minute would hold a connection for years.
const minTake = 64 << 10

// writer counts what leaves, looks at the clock, and cuts a client that takes
// too little. Files still leave by sendfile.
type writer struct {
	nethttp.ResponseWriter
	conn     *conn
	stall    time.Duration
	status   int
	sent     int64           // bytes of the body
	err      error           // the first of the connection
	progress func(time.Time) // after every chunk; nil: nobody asks
}

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
	w.conn.within(w.stall)
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	w.failed(err)
	if w.progress != nil && err == nil {
		w.progress(time.Now())
	}
	return n, err
}

// flush writes out what is buffered.
func (w *writer) flush() error {
	w.conn.within(w.stall)
	err := nethttp.NewResponseController(w.ResponseWriter).Flush()
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
	if _, isFile := limit.R.(*os.File); !isFile || !fast || w.conn.secure {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	if w.status == 0 {
		w.status = nethttp.StatusOK
	}
	// The header leaves first: after this only sendfile writes, which can go on
	// after a time-out where it stopped.
	w.conn.more = limit.N > 0
	err = w.flush()
	if w.conn.more = false; err != nil {
		return 0, err
	}
	defer w.conn.within(w.stall)
	since, base := time.Now(), int64(0) // what the client had taken, and when
	for limit.N > 0 {
		w.conn.within(min(tick, w.stall))
		n, err := rf.ReadFrom(&io.LimitedReader{R: limit.R, N: min(limit.N, sendChunk)})
		total, limit.N = total+n, limit.N-n
		w.sent += n
		now := time.Now()
		if n > 0 && w.progress != nil {
			w.progress(now)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && now.Sub(since) < w.stall:
		case errors.Is(err, os.ErrDeadlineExceeded):
			taken := total - w.conn.pending()
			if taken-base < minTake {
				w.failed(errStalled)
				return total, errStalled
			}
			since, base = now, taken
		case err != nil:
			w.failed(err)
			return total, err
		case n == 0:
			return total, nil // the file is shorter than it was
		case limit.N > 0:
			since, base = now, total-w.conn.pending()
		}
	}
	return total, nil
}

func (w *writer) failed(err error) {
	if w.err == nil && err != nil {
		w.err = err
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.err = errStalled
		}
	}
}
