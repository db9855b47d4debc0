package http

import (
	"context"
	"encoding/json"
	"errors"
	nethttp "net/http"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"helperd/internal/logfile"
)

const (
	// downloadLog is the file below the state folder.
	downloadLog = "downloads.log"
	// logSize in bytes is where a new file begins; two old ones are kept.
	logSize = 16 << 20
	// strangersLogged is how many requests a second of machines that are no nodes are
	// logged: who wants to hide a download must not be able to push it out.
	strangersLogged = 500
	// maxLogged is how many bytes of what a client wrote are logged.
	maxLogged = 256
	// confirmFor is how long the log waits for a client to confirm the end of a large
	// file. iPXE never does: it starts the kernel.
	confirmFor = 3 * time.Second
)

// downloads is the download log: one line for each request that was answered.
type downloads struct {
	file      *logfile.File // nil: nothing is logged
	strangers atomic.Int64  // lines in this second
	omitted   atomic.Int64  // lines that were too many, since the last one that says so
	total     atomic.Uint64 // of omitted since the start
	problem   atomic.Pointer[string]
}

// openDownloads gives the log in a folder; empty: none.
func openDownloads(dir string) *downloads {
	d := &downloads{}
	if dir != "" {
		d.file = logfile.New(filepath.Join(dir, downloadLog), logSize)
	}
	return d
}

// unlogged is how many requests since the start have no line.
func (d *downloads) unlogged() uint64 {
	n := d.total.Load()
	if d.file != nil {
		n += d.file.Lost()
	}
	return n
}

// serveLog writes the log until ctx ends.
func (s *Service) serveLog(ctx context.Context) error {
	d := s.downloads
	if d.file == nil {
		return nil
	}
	d.file.Serve(ctx, func(err error) {
		if d.strangers.Swap(0); d.omitted.Load() > 0 {
			d.file.Append(func(b []byte) []byte { return appendOmitted(b, time.Now(), d.omitted.Swap(0)) })
		}
		switch known := d.problem.Load() != nil; {
		case err == nil:
			d.problem.Store(nil)
		case !known:
			s.host.Log.Error("download log not written", "err", err)
			text := "the download log is not written: " + err.Error() + "; make room or give helperd's user the right to write there; downloads go on"
			d.problem.Store(&text)
		}
	})
	return nil
}

// log writes down what was asked and what really was sent.
func (x *exchange) log() {
	d := x.downloads
	if d.file == nil || x.w.status == 0 || x.path == checkPath {
		return
	}
	if x.node == nil && d.strangers.Add(1) > strangersLogged {
		d.omitted.Add(1)
		d.total.Add(1)
		return
	}
	bytes := x.w.sent
	if bytes >= progressFrom && !x.broken {
		x.broken = errors.Is(x.acknowledged(confirmFor), errBrokeOff)
		bytes = max(bytes-x.conn.pending(), 0)
	}
	now := time.Now()
	d.file.Append(func(b []byte) []byte { return x.appendRecord(b, now, bytes) })
}

// appendRecord appends one line of JSON. A query, which may hold a token, is not in it.
func (x *exchange) appendRecord(b []byte, now time.Time, bytes int64) []byte {
	b = append(b, `{"time":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, `","ip":"`...)
	b = x.addr.AppendTo(b)
	b = append(b, '"')
	if x.node != nil {
		b = append(b, `,"node":`...)
		b = appendText(b, x.node.FQDN)
	}
	b = append(b, `,"method":`...)
	b = appendText(b, x.r.Method)
	b = append(b, `,"file":`...)
	b = appendText(b, x.path)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(x.w.status), 10)
	if x.w.status == nethttp.StatusPartialContent {
		b = append(b, `,"from":`...)
		b = strconv.AppendInt(b, x.offset(), 10)
	}
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, bytes, 10)
	if x.size > 0 {
		b = append(b, `,"size":`...)
		b = strconv.AppendInt(b, x.size, 10)
	}
	b = append(b, `,"ms":`...)
	b = strconv.AppendInt(b, now.Sub(x.begun).Milliseconds(), 10)
	b = append(b, `,"complete":`...)
	b = strconv.AppendBool(b, !x.broken && x.w.err == nil)
	if x.conn.secure {
		b = append(b, `,"tls":true`...)
	}
	if agent := x.r.Header["User-Agent"]; len(agent) > 0 {
		b = append(b, `,"agent":`...)
		b = appendText(b, agent[0])
	}
	return append(b, "}\n"...)
}

func appendOmitted(b []byte, now time.Time, n int64) []byte {
	b = append(b, `{"time":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, `","omitted":`...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "}\n"...)
}

// appendText appends a JSON string, cut to what a line may hold.
func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxLogged)]
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // a string cannot fail
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
