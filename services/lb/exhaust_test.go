package lb

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/plan"
)

const (
	childEnv   = "HELPERD_LB_CHILD" // addresses of front, other, the HTTP service and the server
	childFiles = 320
	childRoom  = childFiles * 3 / 8 // see Service.limit
)

// TestChild is the process that TestExhaustion starts: a balancer and another service, with few
// descriptors. It ends with its standard input.
func TestChild(t *testing.T) {
	list := strings.Fields(os.Getenv(childEnv))
	if len(list) == 0 {
		return // nothing to do without its parent
	}
	few := unix.Rlimit{Cur: childFiles, Max: childFiles}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var addrs []netip.AddrPort
	for _, a := range list {
		addrs = append(addrs, netip.MustParseAddrPort(a))
	}
	r := newRig(t)
	p := lbPlan(addrs[0], unchecked, tcpServer("s1", addrs[3]))
	p.LB.Frontends = append(p.LB.Frontends, plan.Frontend{Name: "other", Listen: addrs[1:2], Backend: "back", ClientTimeout: time.Minute})
	p.LB.Backends[0].QueueTimeout = time.Minute
	r.apply(p)
	var held []int
	mux := http.NewServeMux()
	mux.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pong") })
	mux.HandleFunc("/hog", func(http.ResponseWriter, *http.Request) { // takes all descriptors that are left
		for fd, err := unix.Dup(0); err == nil; fd, err = unix.Dup(0) {
			held = append(held, fd)
		}
	})
	mux.HandleFunc("/free", func(http.ResponseWriter, *http.Request) {
		for _, fd := range held {
			_ = unix.Close(fd)
		}
		held = nil
	})
	l, err := net.Listen("tcp", addrs[2].String())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = http.Serve(l, mux) }()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// child is a running TestChild.
type child struct {
	t                  *testing.T
	pid                int
	front, other, site netip.AddrPort
	client             *http.Client
}

func newChild(t *testing.T, server netip.AddrPort) *child {
	t.Helper()
	c := &child{t: t, front: freeAddr(t, "127.0.0.1"), other: freeAddr(t, "127.0.0.1"), site: freeAddr(t, "127.0.0.1")}
	c.client = &http.Client{Transport: &http.Transport{MaxIdleConns: 1}, Timeout: 10 * time.Second}
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s", childEnv, c.front, c.other, c.site, server))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the balancer: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return c
}

func (c *child) get(path string) string {
	c.t.Helper()
	resp, err := c.client.Get("http://" + c.site.String() + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// cpu is the processor time that the process has used.
func (c *child) cpu() time.Duration {
	c.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// calm measures that the process sleeps while nothing happens.
func (c *child) calm(when string) {
	c.t.Helper()
	before := c.cpu()
	time.Sleep(time.Second)
	if used := c.cpu() - before; used > 300*time.Millisecond {
		c.t.Errorf("%s: %s of processor time in a second", when, used)
	}
}

func (c *child) dial(to netip.AddrPort) net.Conn {
	c.t.Helper()
	conn, err := net.DialTimeout("tcp", to.String(), 10*time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// TestExhaustion floods one frontend of a process with few descriptors, and then takes the last one.
// Other frontends, other services and open tunnels go on, nothing spins, and who waited is served.
func TestExhaustion(t *testing.T) {
	server := newBackend(t, any0("127.0.0.1"), echo)
	c := newChild(t, server.addr)
	open := c.dial(c.other)
	say(t, open, "before")
	if got := c.get("/ping"); got != "pong" {
		t.Fatal(got)
	}
	var mu sync.Mutex
	var served []net.Conn
	var waiting sync.WaitGroup
	for range 2 * childRoom {
		conn := c.dial(c.front)
		waiting.Go(func() {
			if err := echoed(conn, "x"); err != nil {
				t.Errorf("a connection of the flood: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			served = append(served, conn)
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(served) }
	waitFor(t, "a full frontend", func() bool { return count() == childRoom-childRoom/16 })
	c.calm("at the limit")
	say(t, open, "at the limit")
	say(t, c.dial(c.other), "a new one elsewhere")
	c.client.CloseIdleConnections()
	if got := c.get("/ping"); got != "pong" {
		t.Error(got)
	}
	if n := count(); n > childRoom {
		t.Errorf("%d connections, room is for %d", n, childRoom)
	}

	c.get("/hog")
	mu.Lock()
	first := served[0]
	mu.Unlock()
	_ = first.Close() // makes room for one of the flood, and two descriptors: for it and its server
	c.calm("without descriptors")
	say(t, open, "without descriptors")
	late := c.dial(c.other)
	_, _ = io.WriteString(late, "y")
	c.calm("with one that cannot be accepted")
	c.get("/free")
	if _, err := io.ReadFull(late, make([]byte, 1)); err != nil {
		t.Errorf("it was not served when there were descriptors again: %v", err)
	}
	for done := 0; done < 2*childRoom; { // the rest of the flood, as places become free
		mu.Lock()
		for _, conn := range served {
			_ = conn.Close()
			done++
		}
		served = nil
		mu.Unlock()
		if t.Failed() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	waiting.Wait()
	say(t, open, "after")
}

// TestSlowClients has many tunnels with clients that do not read, or send a byte now and then.
// The others are not slowed, and the slow ones hold little memory.
func TestSlowClients(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	bulk := make([]byte, 1<<20)
	r.apply(lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
		b := make([]byte, 1)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
			if b[0] == 'D' { // a download without end
				for {
					if _, err := c.Write(bulk); err != nil {
						return
					}
				}
			}
			_, _ = c.Write(b)
		}
	}).addr)))
	for range 40 {
		c := r.dial(front)
		_ = c.SetDeadline(time.Time{})
		_, _ = io.WriteString(c, "D")
	}
	var trickle sync.WaitGroup
	for range 100 {
		c := r.dial(front)
		_ = c.SetDeadline(time.Time{})
		trickle.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				if echoed(c, "x") != nil {
					return
				}
			}
		})
	}
	bytes := func() uint64 { _, out := r.lb.engine.Bytes(); return out }
	waitFor(t, "full buffers", func() bool {
		before := bytes()
		time.Sleep(100 * time.Millisecond)
		return bytes()-before < 1<<20
	})
	quickly(t, r.dial(front))
}

// TestHalfOpen has thousands of connections that say nothing, and as many half-closed ones.
func TestHalfOpen(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	r.apply(lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
		echo(c)
		<-stop // does not answer the FIN
	}).addr)))
	const half = 1000
	for i := range 2 * half {
		c := r.dial(front)
		_ = c.SetDeadline(time.Time{})
		if i%2 == 0 {
			_, _ = io.WriteString(c, "x") // which is never read
			_ = c.CloseWrite()
		}
	}
	waitFor(t, "all tunnels", func() bool { return r.tableServer("s1").Total.Load() == 2*half })
	if n := r.lb.engine.Active(); n != 2*half {
		t.Errorf("%d are open", n)
	}
	c := r.dial(front)
	say(t, c, "x")
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	time.Sleep(time.Second)
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	if used := unix.TimevalToNsec(after.Utime) + unix.TimevalToNsec(after.Stime) - unix.TimevalToNsec(before.Utime) - unix.TimevalToNsec(before.Stime); used > 5e8 {
		t.Errorf("%s of processor time in a second", time.Duration(used))
	}
	quickly(t, c)
}

// quickly measures that most messages come back soon.
func quickly(t *testing.T, c net.Conn) {
	t.Helper()
	var took []time.Duration
	for range 200 {
		began := time.Now()
		say(t, c, "x")
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	if took[len(took)/2] > 20*time.Millisecond {
		t.Errorf("the median of %d messages took %s", len(took), took[len(took)/2])
	}
	t.Logf("median %s, p99 %s", took[len(took)/2], took[len(took)*99/100])
}
