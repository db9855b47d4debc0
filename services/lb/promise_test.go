package lb

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/plan"
	"helperd/services/lb/table"
)

// openShift are the checks that the plan gives to the API of a cluster.
var openShift = plan.Check{
	Type: plan.CheckHTTPS, Path: "/readyz", Host: "api-int.ocp4.example.com", Status: 200,
	Interval: 5 * time.Second, FastInterval: 2 * time.Second, Timeout: 4 * time.Second, Fall: 2, Rise: 3,
}

// A mood is how a master answers.
type mood int32

const (
	fine       mood = iota
	red             // /readyz answers 500
	hangTLS         // the handshake gets no answer
	hangHeader      // the header comes byte by byte and never ends
	hangAccept      // the kernel answers SYNs, and nobody accepts
	vanished        // SYNs get no answer
	killed          // the process is gone: the kernel refuses
)

// A master is an API server: who speaks TLS is a check, who does not is a client,
// is greeted with the server's name and gets back what it sends.
type master struct {
	t    testing.TB
	name string
	addr netip.AddrPort
	cert tls.Certificate
	mood atomic.Int32
	next atomic.Int32 // mood after the next good answer to a check, in the worst moment
	turn chan time.Time

	mu   sync.Mutex
	l    *net.TCPListener
	fill []net.Conn // what fills the kernel's queue
	open map[net.Conn]bool
}

func newMaster(t testing.TB, name string) *master {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	s.Close()
	m := &master{t: t, name: name, addr: any0("127.0.0.1"), cert: s.TLS.Certificates[0], turn: make(chan time.Time, 1), open: map[net.Conn]bool{}}
	m.next.Store(-1)
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *master) start() {
	m.t.Helper()
	l, err := net.Listen("tcp", m.addr.String())
	if err != nil {
		m.t.Error(err)
		return
	}
	m.addr = l.Addr().(*net.TCPAddr).AddrPort()
	m.mu.Lock()
	m.l = l.(*net.TCPListener)
	m.mu.Unlock()
	go m.accept(m.l)
}

func (m *master) accept(l *net.TCPListener) {
	for {
		if mood(m.mood.Load()) == hangAccept || mood(m.mood.Load()) == vanished {
			time.Sleep(10 * time.Millisecond)
			if m.gone(l) {
				return
			}
			continue
		}
		_ = l.SetDeadline(time.Now().Add(10 * time.Millisecond))
		c, err := l.Accept()
		if errors.Is(err, unix.EAGAIN) || isTimeout(err) {
			continue
		}
		if err != nil {
			return
		}
		m.mu.Lock()
		m.open[c] = true
		m.mu.Unlock()
		go func() {
			m.serve(c)
			_ = c.Close()
			m.mu.Lock()
			delete(m.open, c)
			m.mu.Unlock()
		}()
	}
}

func isTimeout(err error) bool {
	var timed net.Error
	return errors.As(err, &timed) && timed.Timeout()
}

func (m *master) gone(l *net.TCPListener) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.l != l
}

func (m *master) serve(c net.Conn) {
	// A client waits for the greeting, a check speaks first.
	_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	in := bufio.NewReader(c)
	first, err := in.Peek(1)
	_ = c.SetReadDeadline(time.Time{})
	switch {
	case isTimeout(err):
		_, _ = io.WriteString(c, m.name+"\n")
		_, _ = io.Copy(c, in)
	case err == nil && first[0] == 0x16:
		m.check(read{in, c})
	}
}

// read is a connection of which a byte was looked at.
type read struct {
	in *bufio.Reader
	net.Conn
}

func (r read) Read(b []byte) (int, error) { return r.in.Read(b) }

func (m *master) check(c net.Conn) {
	if mood(m.mood.Load()) == hangTLS {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{m.cert}})
	request, err := bufio.NewReader(s).ReadString('\n')
	if err != nil || !strings.HasPrefix(request, "GET /readyz ") {
		return
	}
	switch mood(m.mood.Load()) {
	case red:
		_, _ = io.WriteString(s, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
	case hangHeader:
		_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nX-Slow: ")
		for err == nil {
			time.Sleep(200 * time.Millisecond)
			_, err = io.WriteString(s, "x")
		}
	default:
		now := time.Now()
		_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if next := m.next.Swap(-1); next >= 0 {
			m.be(mood(next))
			m.turn <- now
		}
	}
}

// be changes the mood.
func (m *master) be(to mood) {
	m.mood.Store(int32(to))
	switch to {
	case killed:
		m.kill()
	case vanished:
		m.vanish()
	}
}

// recover makes a new process that is fine.
func (m *master) recover() {
	m.kill()
	m.mood.Store(int32(fine))
	m.start()
}

// kill is what SIGKILL does: the listener goes, and all connections are reset.
func (m *master) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.l != nil {
		_ = m.l.Close()
		m.l = nil
	}
	for c := range m.open {
		if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.SetLinger(0)
		}
		_ = c.Close()
	}
	for _, c := range m.fill {
		_ = c.Close()
	}
	m.fill = nil
}

// vanish makes the kernel drop SYNs: the queue of connections that nobody accepts is full.
func (m *master) vanish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	raw, err := m.l.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = unix.Listen(int(fd), 0) })
	}
	if err != nil {
		m.t.Error(err)
	}
	for range 8 {
		c, err := net.DialTimeout("tcp", m.addr.String(), 50*time.Millisecond)
		if err != nil {
			break
		}
		m.fill = append(m.fill, c)
	}
}

// A stream is a client that connects again and again and knows who served it.
type stream struct {
	mu     sync.Mutex
	served map[string]int // by whom, whole
	broken map[string]int // by whom; "" before anybody greeted
}

// flow opens a connection every 20 ms until stop is closed. Each is told who
// serves it, and exchanges some bytes for a while.
func flow(wg *sync.WaitGroup, front netip.AddrPort, hold time.Duration, stop <-chan struct{}) *stream {
	s := &stream{served: map[string]int{}, broken: map[string]int{}}
	wg.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				wg.Go(func() { s.one(front, hold) })
			}
		}
	})
	return s
}

func (s *stream) one(front netip.AddrPort, hold time.Duration) {
	who, err := converse(front, hold)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.broken[who]++
	} else {
		s.served[who]++
	}
}

// has reports whether each of them has served somebody.
func (s *stream) has(names ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(names, func(n string) bool { return s.served[n] == 0 })
}

func converse(front netip.AddrPort, hold time.Duration) (who string, err error) {
	c, err := net.DialTimeout("tcp", front.String(), 20*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(hold + 30*time.Second))
	in := bufio.NewReader(c)
	who, err = in.ReadString('\n')
	if err != nil {
		return "", err
	}
	who = strings.TrimSpace(who)
	for end := time.Now().Add(hold); ; time.Sleep(hold / 8) {
		if _, err := io.WriteString(c, "x"); err != nil {
			return who, err
		}
		if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
			return who, err
		}
		if !time.Now().Before(end) {
			return who, nil
		}
	}
}

// lastTried gives when the balancer connected to a server for the last time, once it has
// left it alone for a whole second.
func lastTried(m *table.Member, from time.Time) time.Time {
	tried := func() uint64 { return m.Total.Load() + m.Failed.Load() + m.Retries.Load() + m.Redispatches.Load() }
	last, tries := from, tried()
	for time.Since(last) < 20*time.Second {
		if n := tried(); n != tries {
			last, tries = time.Now(), n
		}
		if st, since := m.State(); st != table.Up && time.Since(since) > time.Second && time.Since(last) > time.Second {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return last
}

// A trial is a backend of two servers and a stream of clients, while one of the
// servers turns. What it found counts when done is closed.
type trial struct {
	m             *table.Member
	turned, last  time.Time
	good          table.Result // the check after which it turned
	state         table.State
	since         time.Time
	clients       *stream
	done          chan struct{}
	victim, other *master
}

// begin turns a server right after it was checked well, which is the worst moment.
func begin(t *testing.T, to mood) *trial {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	x := &trial{victim: newMaster(t, "victim"), other: newMaster(t, "other"), done: make(chan struct{})}
	r.apply(lbPlan(front, openShift, tcpServer("victim", x.victim.addr), tcpServer("other", x.other.addr)))
	r.waitState("back", "victim", "up")
	r.waitState("back", "other", "up")
	x.m = r.member("back", "victim")
	go func() {
		defer close(x.done)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		x.clients = flow(&wg, front, 50*time.Millisecond, stop)
		for end := time.Now().Add(20 * time.Second); !x.clients.has("victim", "other"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("clients of %s are not served by both servers", front)
				close(stop)
				return
			}
		}
		for ok := false; !ok; {
			x.victim.next.Store(int32(to))
			x.turned = <-x.victim.turn
			if ok = x.wasGood(); !ok { // a machine under load: the answer came too late
				x.victim.recover()
				for st := table.Starting; st != table.Up; st, _ = x.m.State() {
					time.Sleep(10 * time.Millisecond)
				}
			}
		}
		x.last = lastTried(x.m, x.turned)
		x.state, x.since = x.m.State()
		close(stop)
		x.victim.kill() // those that wait for it are free
		wg.Wait()
	}()
	return x
}

// wasGood waits for the result of the check during whose answer the server turned.
func (x *trial) wasGood() bool {
	for {
		for _, c := range x.m.History() {
			if c.At.After(x.turned) {
				return false
			}
			if c.At.Add(c.Took).After(x.turned) {
				x.good = c
				st, _ := x.m.State()
				return c.OK && st == table.Up
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// failed gives the checks that failed since the server turned.
func (x *trial) failed() []table.Result {
	return slices.DeleteFunc(x.m.History(), func(c table.Result) bool { return c.OK || c.At.Before(x.turned) })
}

// TestPromises: with the checks that OpenShift's API gets, a server that turns
// right after it was checked well gets no new connection after 10 s when it
// is red, after 16 s when it hangs, wherever; and when it is killed two checks know.
func TestPromises(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		mood   mood
		within time.Duration
		state  table.State
	}{
		{"red", red, 10 * time.Second, table.Unready},
		{"hangs in the TLS handshake", hangTLS, 16 * time.Second, table.Unready},
		{"hangs in the HTTP header", hangHeader, 16 * time.Second, table.Unready},
		{"accepts nothing", hangAccept, 16 * time.Second, table.Unready},
		{"vanished", vanished, 16 * time.Second, table.Dead},
		{"killed", killed, 10 * time.Second, table.Dead},
	}
	var trials []*trial // all at once: they wait, and parallel tests are as few as cores
	for _, tt := range tests {
		trials = append(trials, begin(t, tt.mood))
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { trials[i].judge(t, tt.within, tt.state) })
	}
}

func (x *trial) judge(t *testing.T, within time.Duration, want table.State) {
	<-x.done
	took := x.last.Sub(x.turned)
	failed := x.failed()
	if len(failed) < 2 {
		t.Fatalf("the last new connection came after %s, and the checks that failed are %v", took, failed)
	}
	first := failed[0].At.Sub(x.turned)
	t.Logf("the last new connection came after %.2f s; the first check after %.2f s: %s", took.Seconds(), first.Seconds(), failed[1].Detail)
	if took > within {
		t.Errorf("a new connection after %s, want none after %s", took, within)
	}
	if d := failed[0].At.Sub(x.good.At); d < openShift.Interval {
		t.Errorf("the first check came %s after the good one", d)
	}
	was, since := x.state, x.since
	if was != want || since.Before(failed[1].At) || len(failed) > 2 && since.After(failed[2].At) {
		t.Errorf("%s since %s, want %s by the second check of %v", was, since, want, failed)
	}
	if n := x.clients.broken["other"]; n > 0 {
		t.Errorf("%d connections of the other server broke", n)
	}
	if n := x.clients.served["other"]; n < 20 {
		t.Errorf("the stream was thin: %d", n)
	}
}

// TestFlapping: servers are killed and started, and turn red and well again; only
// connections of the killed one break.
func TestFlapping(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	var servers []plan.Server
	masters := map[string]*master{}
	for _, n := range []string{"calm", "moody", "dying"} {
		masters[n] = newMaster(t, n)
		servers = append(servers, tcpServer(n, masters[n].addr))
	}
	r.apply(lbPlan(front, openShift, servers...))
	for n := range masters {
		r.waitState("back", n, "up")
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	brief, long := flow(&wg, front, 50*time.Millisecond, stop), flow(&wg, front, 3*time.Second, stop)
	for round := range 4 {
		if round%2 == 0 {
			masters["dying"].be(killed)
			masters["moody"].be(fine)
		} else {
			masters["dying"].recover()
			masters["moody"].be(red)
		}
		time.Sleep(5 * time.Second)
	}
	close(stop)
	wg.Wait()
	falls := r.member("back", "dying").Falls.Load() + r.member("back", "moody").Falls.Load()
	if falls == 0 {
		t.Error("no server ever fell: nothing was tried")
	}
	var unnamed, dying int
	for _, s := range []*stream{brief, long} {
		t.Logf("served %v, broken %v", s.served, s.broken)
		for n, broken := range s.broken {
			switch n {
			case "":
				unnamed += broken
			case "dying":
				dying += broken
			default:
				t.Errorf("%d connections of %s broke", broken, n)
			}
		}
		dying += s.served["dying"]
	}
	if dying == 0 {
		t.Error("the server that dies served nothing")
	}
	// A connection that broke before the greeting was the killed server's when that
	// one was given more than were greeted.
	if made := int(r.member("back", "dying").Total.Load()); unnamed > made-dying {
		t.Errorf("%d connections broke before anybody greeted; the killed server was given %d and greeted %d", unnamed, made, dying)
	}
}
