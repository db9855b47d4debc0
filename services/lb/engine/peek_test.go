package engine

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/guard"
	"helperd/internal/netns"
	"helperd/plan"
	"helperd/services/lb/table"
)

const slowClients = 10000

// TestSlowHeads: ten thousand clients that do not end their request's head cost
// little memory, hold up nobody, and are closed in time.
func TestSlowHeads(t *testing.T) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Cur < slowClients+1000 {
		netns.SkipOrFail(t, "too few open files are allowed: "+strconv.FormatUint(files.Cur, 10))
	}
	front, back := listenTCP(t), listenTCP(t)
	go func() {
		for {
			c, err := back.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hi")
			_ = c.Close()
		}
	}()
	addr := front.Addr().(*net.TCPAddr).AddrPort()
	tab, err := table.Build(nil, &plan.Plan{LB: plan.LB{
		Enabled: true,
		Frontends: []plan.Frontend{{
			Name: "front", Listen: []netip.AddrPort{addr}, Peek: plan.PeekHost,
			Routes: []plan.NameRoute{{Names: []string{"a.example.com"}, Backend: "back"}},
		}},
		Backends: []plan.Backend{{Name: "back", Servers: []plan.Server{{Name: "s", Weight: 1, Address: back.Addr().(*net.TCPAddr).AddrPort()}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tab.Install(time.Now())
	e := New(Options{Guard: guard.New(nil), Fuse: &guard.Fuse{}, Workers: 2})
	e.Swap(tab)
	e.Attach(addr, []int{descriptor(t, front)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = e.Run(ctx, func() {}) }()
	defer func() { cancel(); <-ended }()

	before := heap()
	clients := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSlowClients$")
	clients.Env = append(os.Environ(), "SLOW_CLIENTS="+addr.String())
	clients.Stderr = os.Stderr
	out, err := clients.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	most := int64(0)
	for lines.Scan() && lines.Text() != "all are connected" { // after every thousand
		start := time.Now()
		c := dialTCP(t, front.Addr())
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
		if got, err := io.ReadAll(c); string(got) != "hi" {
			t.Errorf("%s: %q, %v", lines.Text(), got, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: it took %s", lines.Text(), took)
		}
		most = max(most, e.Active())
	}
	if grown := heap() - before; most < slowClients/10 || grown > 1024*most {
		t.Errorf("%d connections were open, and the heap grew by %d bytes", most, grown)
	} else {
		t.Logf("%d connections were open, and the heap grew by %d bytes each", most, grown/most)
	}
	if err := clients.Wait(); err != nil {
		t.Errorf("slow clients: %v", err)
	}
	if n := tab.Frontends[0].Counters.Unnamed.Load(); n != slowClients {
		t.Errorf("%d were closed without a name", n)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestSlowClients is the other process of TestSlowHeads, and nothing otherwise.
func TestSlowClients(t *testing.T) {
	to, err := netip.ParseAddrPort(os.Getenv("SLOW_CLIENTS"))
	if err != nil {
		return
	}
	fds := make([]int, slowClients)
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, []byte("GET / HTTP/1.1\r\nHost: a.exam")); err != nil {
			t.Fatal(err)
		}
		fds[i] = fd
		if i%1000 == 999 {
			_, _ = os.Stdout.WriteString("beside " + strconv.Itoa(i+1) + "\n")
		}
	}
	_, _ = os.Stdout.WriteString("all are connected\n")
	wait := unix.Timeval{Sec: 30}
	for i, fd := range fds {
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
		if n, err := unix.Read(fd, make([]byte, 1)); n != 0 || err != nil {
			t.Fatalf("client %d: %d bytes, %v; want the end", i, n, err)
		}
	}
}
