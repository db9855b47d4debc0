package engine

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/guard"
)

// TestRunFails: when there is no descriptor for an epoll set, what was posted is not
// left for a later Run, when its socket may be another one.
func TestRunFails(t *testing.T) {
	e := New(Options{Guard: guard.New(nil), Fuse: &guard.Fuse{}, Workers: 3})
	l := listenTCP(t)
	fd := descriptor(t, l)
	addr := netip.MustParseAddrPort(l.Addr().String())
	e.Attach(addr, []int{fd})
	detached := e.Detach(addr)

	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	err := e.Run(t.Context(), func() {})
	if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); e != nil {
		t.Fatal(e)
	}
	if err == nil {
		t.Fatal("Run without descriptors did not fail")
	}
	select {
	case <-detached:
	default:
		t.Error("whoever detached waits for ever")
	}
	for _, w := range e.workers {
		if n := len(w.box); n != 0 {
			t.Errorf("%s has %d commands left", w.name, n)
		}
	}
}

// TestBusy: a worker to which batches come quickly waits outside of the scheduler, and does
// so no more when none comes within a millisecond.
func TestBusy(t *testing.T) {
	b := newBench(t, nil)
	for end := time.Now().Add(10 * time.Second); !b.busy; { // a slow machine may need several
		if time.Now().After(end) {
			t.Fatal("no batch is held to be quick")
		}
		b.post(func() {})
		b.wait()
		b.handle(&b.events[0])
		b.commands()
	}
	b.wait()
	if b.n != 0 || b.busy {
		t.Errorf("after a quiet millisecond: %d events, busy: %t", b.n, b.busy)
	}
}

// descriptor is a duplicate of l's, non-blocking as internal/socket makes them.
func descriptor(t *testing.T, l *net.TCPListener) int {
	t.Helper()
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	fd := int(file.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return fd
}
