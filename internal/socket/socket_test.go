package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/freeport"
	"helperd/internal/guard"
)

func newTable(t *testing.T) *Table {
	g := guard.New(func(name string, v any, stack []byte) { t.Errorf("%s: %v\n%s", name, v, stack) })
	tb := NewTable(g, slog.New(slog.NewTextHandler(io.Discard, nil)))
	tb.retry = 20 * time.Millisecond
	t.Cleanup(func() { tb.Close(); g.Wait() })
	return tb
}

func TestSocketIsKeptWhileReferenced(t *testing.T) {
	tb, k := newTable(t), Key{Network: "udp", Addr: freeport.On(t, "127.0.0.1")}
	first, err := tb.Acquire(k, Options{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("udp", k.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "queued") // nobody reads yet: it waits in the socket
	second, err := tb.Acquire(k, Options{})
	if err != nil {
		t.Fatal(err)
	}
	first.Release()
	conns, err := second.PacketConns()
	if err != nil {
		t.Fatal(err)
	}
	defer conns[0].Close()
	buf := make([]byte, 16)
	_ = conns[0].SetReadDeadline(time.Now().Add(time.Second))
	n, _, err := conns[0].ReadFrom(buf)
	if err != nil || string(buf[:n]) != "queued" {
		t.Fatalf("read %q, %v: the packet was lost over the reload", buf[:n], err)
	}
	second.Release()
	third, err := tb.Acquire(k, Options{})
	if err != nil {
		t.Fatalf("bind again after the last release: %v", err)
	}
	third.Release()
}

func TestClosedDuplicateLeavesTheListener(t *testing.T) {
	tb, k := newTable(t), Key{Network: "tcp", Addr: freeport.On(t, "127.0.0.1")}
	s, err := tb.Acquire(k, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	before, err := s.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	before[0].Close()
	client, err := net.Dial("tcp", k.Addr.String())
	if err != nil {
		t.Fatalf("the listener went with its duplicate: %v", err)
	}
	defer client.Close()
	after, err := s.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	defer after[0].Close()
	_ = after[0].SetDeadline(time.Now().Add(time.Second))
	c, err := after[0].Accept()
	if err != nil {
		t.Fatalf("the queued connection was lost: %v", err)
	}
	c.Close()
}

func TestHeldPortIsNamedAndTakenWhenFree(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			tb, addr := newTable(t), freeport.On(t, "127.0.0.1")
			var other io.Closer
			var err error
			if network == "tcp" {
				other, err = net.Listen("tcp", addr.String())
			} else {
				other, err = net.ListenPacket("udp", addr.String())
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := tb.Acquire(Key{Network: network, Addr: addr}, Options{Shards: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Release()
			st := s.Status()
			if want := fmt.Sprintf("(pid %d)", os.Getpid()); st.Bound || !strings.Contains(st.Holder, want) {
				t.Errorf("status %+v, want unbound and held by %s", st, want)
			}
			other.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := s.Wait(ctx); err != nil {
				t.Fatalf("the freed port was not taken: %v", err)
			}
			if st := s.Status(); !st.Bound || st.Holder != "" || len(s.FDs()) != 2 {
				t.Errorf("status %+v with %d shards", st, len(s.FDs()))
			}
		})
	}
}

func TestReleaseEndsWait(t *testing.T) {
	tb, addr := newTable(t), freeport.On(t, "127.0.0.1")
	other, err := net.ListenPacket("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s, err := tb.Acquire(Key{Network: "udp", Addr: addr}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Wait(context.Background()) }()
	s.Release()
	select {
	case err := <-done:
		if err == nil {
			t.Error("Wait said bound")
		}
	case <-time.After(5 * time.Second):
		t.Error("Wait goes on after Release")
	}
}

func TestAddressThatIsNotThereYet(t *testing.T) {
	tb := newTable(t)
	s, err := tb.Acquire(Key{Network: "udp", Addr: netip.MustParseAddrPort("192.0.2.7:20053")}, Options{})
	if err != nil {
		t.Fatalf("IP_FREEBIND: %v", err)
	}
	s.Release()
}

func TestErrorsSayWhatToDo(t *testing.T) {
	tb := newTable(t)
	_, err := tb.Acquire(Key{Network: "udp", Addr: netip.MustParseAddrPort("0.0.0.0:20067"), Device: "nosuch0"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "no interface nosuch0") {
		t.Errorf("err = %v", err)
	}
}

// When the second shard cannot be used, what was made for the first is not left open.
func TestFailedDuplicateLeaksNothing(t *testing.T) {
	tb := newTable(t)
	s, err := tb.Acquire(Key{Network: "udp", Addr: freeport.On(t, "127.0.0.1")}, Options{Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	var made []*os.File
	_, err = duplicates(s, func(f *os.File) (*os.File, error) {
		if len(made) == 1 {
			return nil, errors.New("too many open files")
		}
		fd, err := unix.Dup(int(f.Fd()))
		made = append(made, os.NewFile(uintptr(fd), "first"))
		return made[0], err
	})
	if err == nil || !strings.Contains(err.Error(), s.Key.String()) {
		t.Errorf("err = %v", err)
	}
	if err := made[0].Close(); !errors.Is(err, os.ErrClosed) {
		t.Error("the first shard was left open")
	}
}
