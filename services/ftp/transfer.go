package ftp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"helperd/timeline"
)

const (
	// progressEvery is the time between two events of one long download.
	progressEvery = time.Second
	// sendChunk in bytes is the most that leaves between two looks at the clock.
	sendChunk = 4 << 20
)

var errStalled = errors.New("the client took nothing for too long")

// content is what a download sends. An *os.File leaves by sendfile.
type content interface {
	io.ReadSeeker
	io.WriterTo
	io.Closer
}

// script is content that was made for one download.
type script struct{ *bytes.Reader }

// Close implements io.Closer.
func (script) Close() error { return nil }

// download is one RETR, from the opening of its file to the end. To the library it is the file.
type download struct {
	content
	session *session
	path    string
	size    int64 // in bytes
	offset  int64 // where it begins (REST)
	begun   atomic.Bool
	sent    atomic.Int64 // bytes on the data connection
	err     error
	next    time.Time // of an event
}

// Write implements ftpserver.FileTransfer, which is for uploads, too.
func (*download) Write([]byte) (int, error) { return 0, errReadOnly }

// TransferError implements ftpserver.FileTransferError.
func (d *download) TransferError(err error) {
	if d.err == nil {
		d.err = err
	}
}

// moved notes n bytes more.
func (d *download) moved(n int64) {
	d.session.count.bytes.Add(uint64(n))
	d.sent.Add(n)
	if now := time.Now(); now.After(d.next) {
		if !d.next.IsZero() {
			d.tell(timeline.FTPGet, "")
		}
		d.next = now.Add(progressEvery)
	}
}

// Close ends the download: the library has sent all it could.
func (d *download) Close() error {
	d.session.download.CompareAndSwap(d, nil)
	switch {
	case !d.begun.Load() && d.err == nil:
		// The library gave up before it opened the data connection, as after a bad REST.
	case d.err != nil:
		d.failed(d.err)
	case d.sent.Load() < d.size-d.offset:
		d.failed(errors.New("the file became shorter while it was sent; replace files by renaming, not by writing into them"))
	default:
		d.session.count.done.Add(1)
		d.session.host.Events.Emit(timeline.Event{Kind: timeline.FTPGet, Addr: d.session.addr, File: d.path, Bytes: d.size, Total: d.size})
	}
	return d.content.Close()
}

func (d *download) failed(err error) {
	why := "the client closed the connection"
	switch {
	case !d.begun.Load():
		why = "the client opened no data connection; let the passive ports pass the packet filters between it and the helper"
	case errors.Is(err, errStalled):
		why = "the client took nothing for " + d.session.stall.String() + " and was cut"
	case d.err == nil:
		why = err.Error()
	}
	d.session.count.failed.Add(1)
	d.session.host.Log.Info("download broke off", "ip", d.session.addr, "file", d.path, "bytes", d.sent.Load(), "err", err)
	d.tell(timeline.FTPFailed, why)
}

func (d *download) tell(k timeline.Kind, why string) {
	d.session.host.Events.Emit(timeline.Event{
		Kind: k, Addr: d.session.addr, File: d.path, Bytes: min(d.offset+d.sent.Load(), d.size), Total: d.size, Detail: why,
	})
}

// data is a data connection. It counts for the session's download and cuts a
// client that takes nothing. It does not show its descriptor: os.File would
// send to that past all this.
type data struct {
	net.Conn
	tcp     *net.TCPConn // the same
	session *session
}

// current is the download that the connection is for; nil: a listing.
func (c *data) current() *download {
	d := c.session.download.Load()
	if d != nil {
		d.begun.Store(true)
	}
	return d
}

// Write implements io.Writer.
func (c *data) Write(p []byte) (total int, err error) {
	d := c.current()
	for first := true; first || len(p) > 0; first = false {
		if err := c.SetWriteDeadline(time.Now().Add(c.session.stall)); err != nil {
			return total, err
		}
		n, err := c.tcp.Write(p)
		total, p = total+n, p[n:]
		if d != nil {
			d.moved(int64(n))
		}
		if err = stalled(err, int64(n)); err != nil {
			return total, err
		}
	}
	return total, nil
}

// ReadFrom implements io.ReaderFrom: io.Copy comes here with a file, which
// leaves by sendfile, or with one that is turned into text.
func (c *data) ReadFrom(r io.Reader) (total int64, err error) {
	if _, isFile := r.(syscall.Conn); !isFile {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	d := c.current()
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.session.stall)); err != nil {
			return total, err
		}
		n, err := c.tcp.ReadFrom(&io.LimitedReader{R: r, N: sendChunk})
		total += n
		if d != nil {
			d.moved(n)
		}
		if err = stalled(err, n); err != nil {
			return total, err
		}
		if n == 0 {
			return total, nil
		}
	}
}

// stalled forgives a deadline that went by while n bytes left.
func stalled(err error, n int64) error {
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case n > 0:
		return nil
	}
	return errStalled
}
