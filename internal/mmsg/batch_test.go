package mmsg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listen(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestEcho(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			server, client := listen(t, addr), listen(t, addr)
			raw, err := server.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			to := server.LocalAddr().(*net.UDPAddr).AddrPort()
			const count = 10
			for i := range count {
				if _, err := client.WriteToUDPAddrPort(fmt.Appendf(nil, "message %d", i), to); err != nil {
					t.Fatal(err)
				}
			}
			b := New(4, 64, 64) // smaller than the burst: several turns
			for got := 0; got < count; {
				n, err := b.Receive(raw)
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					if want := client.LocalAddr().(*net.UDPAddr).AddrPort(); b.Peer(i) != want {
						t.Fatalf("peer %s, want %s", b.Peer(i), want)
					}
					if i%2 == 0 {
						b.Queue(i, copy(b.Reply(), b.Message(i)))
					} else {
						b.QueueTo(b.Peer(i), copy(b.Reply(), b.Message(i)))
					}
				}
				got += n
				if failed, err := b.Send(raw); failed != 0 || err != nil {
					t.Fatalf("send: %d failed, %v", failed, err)
				}
			}
			buf := make([]byte, 64)
			for i := range count {
				_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
				n, from, err := client.ReadFromUDPAddrPort(buf)
				if err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf("message %d", i); string(buf[:n]) != want || from != to {
					t.Fatalf("got %q from %s, want %q from %s", buf[:n], from, want, to)
				}
			}
		})
	}
}

func TestRefusedMessageIsSkipped(t *testing.T) {
	server, client := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	raw, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	to := client.LocalAddr().(*net.UDPAddr).AddrPort()
	b := New(4, 64, 64)
	b.QueueTo(to, copy(b.Reply(), "first"))
	b.QueueTo(netip.AddrPortFrom(to.Addr(), 0), copy(b.Reply(), "nobody")) // port 0 is EINVAL
	b.QueueTo(to, copy(b.Reply(), "last"))
	if failed, err := b.Send(raw); failed != 1 || err != nil {
		t.Fatalf("%d failed, %v; want 1 and no error", failed, err)
	}
	buf := make([]byte, 64)
	for _, want := range []string{"first", "last"} {
		_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := client.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("got %q, %v; want %q", buf[:n], err, want)
		}
	}
}

// A full send buffer is waited for only so long, and its deadline holds up nothing later.
func TestSendWithin(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	from, to := os.NewFile(uintptr(fds[0]), "from"), os.NewFile(uintptr(fds[1]), "to")
	defer from.Close()
	defer to.Close()
	b := New(2, 64, 1000)
	send := func() int {
		for b.Reply() != nil {
			b.queue(copy(b.Reply(), make([]byte, 1000)), 0)
		}
		failed, err := b.SendWithin(from, 20*time.Millisecond)
		if (err != nil) != (failed > 0) || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) || b.Queued() != 0 {
			t.Fatalf("%d failed, %v, %d still queued", failed, err, b.Queued())
		}
		return failed
	}
	for range 1000 {
		if send() > 0 {
			break
		}
	}
	if send() != 2 {
		t.Error("the full buffer took a message")
	}
	raw, err := to.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := b.Receive(raw); n != 2 || err != nil {
		t.Fatalf("%d messages, %v", n, err)
	}
	if failed := send(); failed != 0 {
		t.Errorf("%d of 2 messages failed where there was room for them", failed)
	}
}

func TestFullAndTruncated(t *testing.T) {
	server, client := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	raw, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	b := New(1, 4, 4)
	if _, err := client.WriteTo([]byte("too long"), server.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Receive(raw); err != nil {
		t.Fatal(err)
	}
	if !b.Truncated(0) || string(b.Message(0)) != "too " {
		t.Errorf("truncated %v, message %q", b.Truncated(0), b.Message(0))
	}
	b.Queue(0, 4)
	if b.Reply() != nil || b.Queued() != 1 {
		t.Error("a full batch gives a buffer")
	}
}

func TestReceiveEnds(t *testing.T) {
	server := listen(t, "127.0.0.1:0")
	raw, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now())
	if _, err := New(1, 64, 64).Receive(raw); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	_ = server.Close()
	if _, err := New(1, 64, 64).Receive(raw); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

func TestNoAllocations(t *testing.T) {
	server, client := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	rawServer, _ := server.SyscallConn()
	rawClient, _ := client.SyscallConn()
	b, c := New(4, 64, 64), New(4, 64, 64)
	to := server.LocalAddr().(*net.UDPAddr).AddrPort()
	allocs := testing.AllocsPerRun(100, func() {
		c.QueueTo(to, copy(c.Reply(), "ping"))
		_, _ = c.Send(rawClient)
		n, err := b.Receive(rawServer)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			b.QueueTo(b.Peer(i), copy(b.Reply(), b.Message(i)))
		}
		_, _ = b.Send(rawServer)
	})
	if allocs != 0 {
		t.Errorf("%v allocations a turn", allocs)
	}
}

// Who must not wait does not, and is told what a full buffer had no room for.
func TestSendNow(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer near.Close()
	defer far.Close()
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write([]byte("ask")); err != nil {
		t.Fatal(err)
	}
	const count = 2000 // more than any queue of a socket pair
	b := New(count, 16, 16)
	if n, err := b.Receive(raw); n != 1 || err != nil {
		t.Fatalf("%d received, %v", n, err)
	}
	for range count {
		b.Queue(0, copy(b.Reply(), "answer"))
	}
	failed, err := b.SendNow(raw) // nobody reads
	if failed == 0 || failed == count || err != nil || b.Queued() != 0 {
		t.Errorf("%d of %d failed, %d queued, %v", failed, count, b.Queued(), err)
	}
	for range count - failed {
		if _, err := far.Read(make([]byte, 16)); err != nil {
			t.Fatalf("what was sent has not come: %v", err)
		}
	}
}
