package reload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/test/rig"
)

const (
	askSize    = 16
	answerSize = 512
	// patience is how long a connection may take: longer than the drain of a stop and a SYN that is sent again.
	patience = 25 * time.Second
)

// flood opens connections in an open loop: one that is late does not slow down
// those that come. On each it asks, and reads the answer to its end.
type flood struct {
	stop context.CancelFunc
	all  sync.WaitGroup
	open atomic.Int64

	mu      sync.Mutex
	begun   time.Time
	sent    int
	took    []time.Duration
	lost    map[string]int // by what was seen
	example map[string]error
}

// newFlood opens rate connections a second to addr.
func newFlood(t *testing.T, m *rig.Machine, addr netip.AddrPort, rate int) *flood {
	ctx, cancel := context.WithCancel(t.Context())
	f := &flood{stop: cancel}
	f.reset()
	const senders = 2
	for range senders {
		f.all.Go(func() {
			if err := m.Call(func() error { f.send(ctx, addr, rate/senders); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); f.all.Wait() })
	return f
}

func (f *flood) send(ctx context.Context, addr netip.AddrPort, rate int) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	begun, sent := time.Now(), 0
	for ctx.Err() == nil {
		<-tick.C
		for due := int(time.Since(begun).Seconds() * float64(rate)); sent < due; sent++ {
			f.begin(addr)
		}
	}
}

// begin opens a connection from the thread's namespace and leaves the rest to a goroutine.
func (f *flood) begin(addr netip.AddrPort) {
	began := time.Now()
	f.mu.Lock()
	f.sent++
	id := uint64(f.sent)
	f.mu.Unlock()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.end(began, fmt.Errorf("socket: %w", err))
		return
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		f.end(began, err)
		return
	}
	f.open.Add(1)
	f.all.Go(func() {
		conn := os.NewFile(uintptr(fd), "flood")
		err := exchange(conn, id)
		_ = conn.Close()
		f.open.Add(-1)
		f.end(began, err)
	})
}

func exchange(conn *os.File, id uint64) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var ask [askSize]byte
	binary.BigEndian.PutUint64(ask[:], id)
	if _, err := conn.Write(ask[:]); err != nil { // waits until it is connected
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if len(answer) != answerSize {
		return fmt.Errorf("%w: %d of %d bytes", io.ErrUnexpectedEOF, len(answer), answerSize)
	}
	if got := binary.BigEndian.Uint64(answer); got != id {
		return fmt.Errorf("answer %d to question %d", got, id)
	}
	return nil
}

func (f *flood) end(began time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.took = append(f.took, time.Since(began))
		return
	}
	kind := "other"
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		kind = "refused"
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		kind = "reset"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ETIMEDOUT):
		kind = "timed out"
	case errors.Is(err, io.ErrUnexpectedEOF):
		kind = "cut"
	}
	f.lost[kind]++
	f.example[kind] = err
}

func (f *flood) reset() {
	f.begun, f.sent, f.took, f.lost, f.example = time.Now(), 0, nil, map[string]int{}, map[string]error{}
}

// report waits for the connections that are open, says how they ended, and begins anew. It gives those that were lost, by kind.
func (f *flood) report(t *testing.T, what string, atLeast int) map[string]int {
	t.Helper()
	f.mu.Lock()
	begun, sent := f.begun, f.sent
	f.mu.Unlock()
	rate := float64(sent) / time.Since(begun).Seconds()
	// Those begun up to here end within their patience; new ones come meanwhile.
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		f.mu.Lock()
		done := len(f.took)
		for _, n := range f.lost {
			done += n
		}
		f.mu.Unlock()
		if done >= sent {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.took)
	at := func(q float64) time.Duration {
		if len(f.took) == 0 {
			return 0
		}
		return f.took[int(q*float64(len(f.took)-1))].Round(100 * time.Microsecond)
	}
	t.Logf("%s: %d connections at %.0f a second, lost %v, took p50 %s, p99 %s, the longest %s", what, sent, rate, f.lost, at(0.5), at(0.99), at(1))
	if len(f.took) < atLeast {
		t.Errorf("%s: only %d connections, want %d for the test to mean something", what, len(f.took), atLeast)
	}
	for kind, err := range f.example {
		t.Logf("%s: %s: %v", what, kind, err)
	}
	lost := f.lost
	f.reset()
	return lost
}

// answerer serves flood's questions on a machine.
func answerer(t *testing.T, m *rig.Machine, port int) {
	t.Helper()
	serveTCP(t, m, port, func(c *net.TCPConn) {
		var b [answerSize]byte
		if _, err := io.ReadFull(c, b[:askSize]); err == nil {
			_, _ = c.Write(b[:])
		}
	})
}

// echoer sends back what it gets, on a machine.
func echoer(t *testing.T, m *rig.Machine, port int) {
	t.Helper()
	serveTCP(t, m, port, func(c *net.TCPConn) { _, _ = io.Copy(c, struct{ io.Reader }{c}) })
}

func serveTCP(t *testing.T, m *rig.Machine, port int, serve func(*net.TCPConn)) {
	t.Helper()
	var l net.Listener
	m.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", m.Node.IP, port)); err != nil {
			t.Fatal(err)
		}
	})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				serve(c.(*net.TCPConn))
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
}
