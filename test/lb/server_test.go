package lb

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A server stands behind the balancer.
type server struct {
	x      *trial
	addr   string
	behave func(*net.TCPConn)
	total  atomic.Int64 // connections it took

	mu   sync.Mutex
	l    net.Listener
	open map[*net.TCPConn]bool
}

// serve starts a server. Its connections are closed when behave returns.
func (x *trial) serve(addr string, behave func(*net.TCPConn)) *server {
	x.Helper()
	s := &server{x: x, addr: x.at(addr), behave: behave, open: map[*net.TCPConn]bool{}}
	s.start()
	x.Cleanup(s.kill)
	return s
}

// start listens, again after stop.
func (s *server) start() {
	s.x.Helper()
	l, err := net.Listen("tcp", s.addr)
	s.x.must(err)
	s.mu.Lock()
	s.l = l
	s.mu.Unlock()
	s.x.guard.Go("server "+s.addr, func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.total.Add(1)
			s.x.guard.Go("connection of "+s.addr, func() { s.run(c.(*net.TCPConn)) })
		}
	})
}

func (s *server) run(c *net.TCPConn) {
	s.mu.Lock()
	s.open[c] = true
	s.mu.Unlock()
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	s.behave(c)
	_ = c.Close()
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
}

// stop refuses new connections; open ones live on.
func (s *server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.l.Close()
}

// kill ends the server as the death of its process does.
func (s *server) kill() {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

// active is the number of open connections.
func (s *server) active() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// named is a server that says its name and then sends back what it gets.
func named(name string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		_, _ = io.WriteString(c, name+"\n")
		_, _ = io.Copy(c, c)
	}
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// sink reads all there is.
func sink(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

// reset ends a connection by RST.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// trio starts servers that are called one, two and three.
func (x *trial) trio() [3]*server {
	x.Helper()
	return [3]*server{x.serve(one, named("one")), x.serve(two, named("two")), x.serve(three, named("three"))}
}

// blackhole is an address whose packets are lost, as those to a machine that is switched off.
func (x *trial) blackhole(addr string) {
	x.Helper()
	a, err := net.ResolveTCPAddr("tcp", x.at(addr))
	x.must(err)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	x.must(err)
	x.Cleanup(func() { _ = unix.Close(fd) })
	to := &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}
	x.must(unix.Bind(fd, to))
	x.must(unix.Listen(fd, 0))
	// Linux drops every SYN once the queue of connections to accept is full.
	for range 3 {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		x.must(err)
		x.Cleanup(func() { _ = unix.Close(c) })
		_ = unix.Connect(c, to)
	}
	time.Sleep(50 * time.Millisecond)
	if c, err := net.DialTimeout("tcp", x.at(addr), 200*time.Millisecond); err == nil {
		_ = c.Close()
		x.Fatalf("the black hole at %s took a connection", addr)
	}
}

// readLine reads one line without taking more than it.
func readLine(c net.Conn) (string, error) {
	return bufio.NewReaderSize(oneByte{c}, 16).ReadString('\n')
}

// lineOf is readLine for those whom the line itself tells enough.
func lineOf(c net.Conn) string {
	line, _ := readLine(c)
	return line
}

// oneByte reads a byte at a time.
type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }
