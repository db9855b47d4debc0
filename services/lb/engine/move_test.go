package engine

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services/lb/table"
)

// bench is a worker that a test drives by hand, with one tunnel between client and server.
type bench struct {
	*worker
	t              *testing.T
	tunnel         *tunnel
	client, server *net.TCPConn
}

// newBench makes a tunnel. Before the worker sees that it is connected, early is called.
func newBench(t *testing.T, early func(*bench)) *bench {
	t.Helper()
	front, back := listenTCP(t), listenTCP(t)
	tab, err := table.Build(nil, &plan.Plan{LB: plan.LB{
		Enabled:   true,
		Frontends: []plan.Frontend{{Name: "front", Backend: "back"}},
		Backends:  []plan.Backend{{Name: "back", Servers: []plan.Server{{Name: "s", Weight: 1, Address: back.Addr().(*net.TCPAddr).AddrPort()}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tab.Install(time.Now())
	e := New(Options{Guard: guard.New(nil), Fuse: &guard.Fuse{}})
	e.Swap(tab)
	b := &bench{worker: e.workers[0], t: t}
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	b.client = dialTCP(t, front.Addr())
	accepted, err := front.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	file, err := accepted.File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.SetNonblock(fd, true)
	_, _ = file.Close(), accepted.Close()
	e.reserve()
	b.start(int32(fd), netip.MustParseAddr("127.0.0.1"), tab.Frontends[0], waiting)
	b.tunnel = b.slab.at(0)
	if b.server, err = back.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.server.Close() })
	for _, c := range []*net.TCPConn{b.client, b.server} {
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	}
	if early != nil {
		early(b)
	}
	b.turn()
	if b.tunnel.phase != open {
		t.Fatal("the tunnel is not open")
	}
	return b
}

// turn handles the events that there are, and what they leave to do.
func (b *bench) turn() {
	time.Sleep(20 * time.Millisecond) // what was sent has arrived
	for n := sysWait(b.ep, b.events[:], 0); n > 0 || len(b.again) > 0; n = sysWait(b.ep, b.events[:], 0) {
		for i := range n {
			b.handle(&b.events[i])
		}
		b.goOn()
	}
}

// received takes turns until the server has got so many bytes, or the FIN; on a busy machine they come late.
func (b *bench) received(n int) int {
	got, buf := 0, make([]byte, n)
	for end := time.Now().Add(5 * time.Second); got < n && time.Now().Before(end); {
		b.turn()
		_ = b.server.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		k, err := io.ReadFull(b.server, buf[got:])
		if got += k; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return got
}

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func dialTCP(t *testing.T, to net.Addr) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// Without a pipe a direction copies. Its FIN is passed on too when the last
// read of a turn was the last one of all.
func TestFINAtEndOfTurn(t *testing.T) {
	const size = 1024
	for reads := 1; reads <= turn+1; reads++ {
		sent := bytes.Repeat([]byte("x"), (reads-1)*size+10)
		b := newBench(t, func(b *bench) {
			b.buf, b.pools.open = make([]byte, size), pipesMax
			_, _ = b.client.Write(sent)
			_ = b.client.CloseWrite()
		})
		got, err := io.ReadAll(b.server)
		if err != nil || len(got) != len(sent) {
			t.Errorf("%d reads: the server got %d of %d bytes, %v", reads, len(got), len(sent), err)
		}
	}
}

// An answer with its FIN costs one packet, as it did where it came from.
func TestLastBytesWithFIN(t *testing.T) {
	b := newBench(t, nil)
	before := segments(t, b.client)
	raw, err := b.server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), []byte("answer"), nil, nil, unix.MSG_MORE)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = b.server.CloseWrite()
	b.turn()
	if got, err := io.ReadAll(b.client); string(got) != "answer" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
	if n := segments(t, b.client) - before; n != 1 {
		t.Errorf("the client got %d packets, want 1", n)
	}
}

// segments is how many packets a connection has received.
func segments(t *testing.T, c *net.TCPConn) uint32 {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	_ = raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil {
		t.Fatal(err)
	}
	return info.Segs_in
}

// A server that answers and closes while the client still sends makes the
// next write fail. What it had answered reaches the client all the same.
func TestAnswerBeforeReset(t *testing.T) {
	b := newBench(t, nil)
	_, _ = io.WriteString(b.server, "413")
	_ = b.server.SetLinger(0)
	_ = b.server.Close()
	_, _ = io.WriteString(b.client, "more")
	time.Sleep(20 * time.Millisecond)
	b.event(0, b.tunnel, fromClient, unix.EPOLLIN|unix.EPOLLOUT) // before the server's event is looked at
	got := make([]byte, 3)
	if _, err := io.ReadFull(b.client, got); err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
	if _, err := b.client.Read(got); err == nil || err == io.EOF {
		t.Errorf("then %v, want a reset", err)
	}
	if b.tunnel.phase != free {
		t.Error("the tunnel is still there")
	}
}

// A read stops at urgent data, and splice does not pass it (tcp(7)): what follows it comes through all the same.
func TestUrgentData(t *testing.T) {
	for _, name := range []string{"open", "then FIN"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			_, _ = io.WriteString(b.client, "before")
			raw, err := b.client.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if bad := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) }); bad != nil || err != nil {
				t.Fatal(bad, err)
			}
			_, _ = io.WriteString(b.client, "after")
			if name == "then FIN" {
				_ = b.client.CloseWrite()
			}
			if n, want := b.received(len("beforeafter")), len("beforeafter"); n != want {
				t.Errorf("the server got %d of %d bytes", n, want)
			}
		})
	}
}

// A direction that has nothing to move any more has no pipe, wherever its turn ended.
func TestIdleHasNoPipe(t *testing.T) {
	b := newBench(t, nil)
	small := b.pools.pipe()
	if _, err := unix.FcntlInt(uintptr(small.r), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	_ = b.client.SetDeadline(time.Now().Add(time.Minute))
	d := &b.tunnel.d[fromClient]
	for pages := range turn {
		d.pipe, d.inPipe, d.full = small, 1, bulkAfter // as after a client that reads slowly
		_, _ = unix.Write(int(small.w), []byte("x"))
		sent := bytes.Repeat([]byte("x"), pages*4096)
		_, _ = b.client.Write(sent)
		time.Sleep(20 * time.Millisecond)
		d.readable = true
		b.move(0, b.tunnel)
		if n := b.received(len(sent) + 1); n != len(sent)+1 {
			t.Fatalf("the server got %d of %d bytes", n, len(sent)+1)
		}
		if d.pipe != nil {
			t.Errorf("after %d bytes an idle direction keeps its pipe", len(sent))
		}
		b.pools.pipes = nil
	}
}

// What was seen of a server to which the PROXY header could not be sent is not held against the next one.
func TestNextServerAfterHeader(t *testing.T) {
	b := newBench(t, nil)
	b.engine.table.Load().Retries = 1
	b.tunnel.backend.Group().Config.SendProxy = "v1"
	b.tunnel.phase = connecting // as before its event
	sysShutdownWrite(b.tunnel.d[fromClient].to)
	b.event(0, b.tunnel, fromServer, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP)
	if d := &b.tunnel.d[fromServer]; b.tunnel.phase != waiting || d.hup || d.readable {
		t.Errorf("in phase %s, its server has sent a FIN: %t, may be read: %t", phaseNames[b.tunnel.phase], d.hup, d.readable)
	}
}
