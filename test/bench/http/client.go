package http

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	nethttp "net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/netns"
)

// ask is what clients do at the same time until the time is over.
type ask struct {
	server  netip.AddrPort
	path    string
	size    int64
	part    int64 // bytes of a range, at a random place; 0: the whole file
	clients int
	last    time.Duration
}

// run gives the bytes that arrived. Connections are opened in ns.
func (a ask) run(ns *netns.NS) (total int64, took time.Duration, err error) {
	conns := make([]*net.TCPConn, a.clients)
	err = ns.Call(func() error {
		for i := range conns {
			c, err := net.Dial("tcp", a.server.String())
			if err != nil {
				return err
			}
			conns[i] = c.(*net.TCPConn)
		}
		return nil
	})
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.SetLinger(0)
				_ = c.Close()
			}
		}
	}()
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	end := begun.Add(a.last)
	errs := make([]error, a.clients)
	var bytes atomic.Int64
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() { errs[i] = a.loop(c, end, &bytes) })
	}
	wg.Wait()
	return bytes.Load(), time.Since(begun), errors.Join(errs...)
}

// loop asks on c again and again until end.
func (a ask) loop(c *net.TCPConn, end time.Time, total *atomic.Int64) error {
	if err := c.SetDeadline(end); err != nil {
		return err
	}
	for {
		want, err := a.request(c)
		if err == nil {
			err = receive(c, want, total)
		}
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			return nil // the time is over
		}
		if err != nil {
			return err
		}
	}
}

// request asks, and gives how many bytes the answer promises.
func (a ask) request(c *net.TCPConn) (int64, error) {
	want, status, header := a.size, nethttp.StatusOK, ""
	if a.part > 0 {
		from := rand.Int64N(a.size/a.part) * a.part
		want, status = a.part, nethttp.StatusPartialContent
		header = fmt.Sprintf("Range: bytes=%d-%d\r\n", from, from+a.part-1)
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: bench\r\n%s\r\n", a.path, header); err != nil {
		return 0, err
	}
	text, err := readHeader(c)
	if err != nil {
		return 0, err
	}
	resp, err := nethttp.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != status || resp.ContentLength != want {
		return 0, fmt.Errorf("%s of %s bytes, want %d of %d", resp.Status, strconv.FormatInt(resp.ContentLength, 10), status, want)
	}
	return want, nil
}

// readHeader reads to the end of a header and no further: it looks first.
func readHeader(c *net.TCPConn) ([]byte, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK)
			return failed != unix.EAGAIN
		})
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		if end := bytes.Index(buf[:n], []byte("\r\n\r\n")); end >= 0 {
			_, err := io.ReadFull(c, buf[:end+4])
			return buf[:end+4], err
		}
		if n == len(buf) {
			return nil, errors.New("a header without an end")
		}
		time.Sleep(time.Millisecond) // the rest is on its way
	}
}

// receive takes n bytes, which the kernel throws away without copying them.
func receive(c *net.TCPConn, n int64, total *atomic.Int64) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for n > 0 {
		var got int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			got, _, failed = unix.Recvfrom(int(fd), buf[:min(n, int64(len(buf)))], unix.MSG_TRUNC)
			return failed != unix.EAGAIN
		})
		if err = errors.Join(err, failed); err != nil {
			return err
		}
		if got == 0 {
			return io.ErrUnexpectedEOF
		}
		n -= int64(got)
		total.Add(int64(got))
	}
	return nil
}
