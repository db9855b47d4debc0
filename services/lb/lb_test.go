package lb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"helperd/internal/freeport"
	"helperd/internal/guard"
	"helperd/internal/netns"
	"helperd/internal/socket"
	"helperd/nodes"
	"helperd/plan"
	"helperd/services"
	"helperd/state"
	"helperd/timeline"
)

// rig is a balancer that serves.
type rig struct {
	t    testing.TB
	lb   *Service
	host services.Host

	mu     sync.Mutex
	panics []string
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t}
	g := guard.New(func(name string, v any, stack []byte) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.panics = append(r.panics, fmt.Sprintf("%s: %v\n%s", name, v, stack))
	})
	log := slog.New(slog.DiscardHandler)
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	events := timeline.New(time.Now)
	registry, err := nodes.New(store, events, log, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	r.host = services.Host{
		Log: log, Guard: g, Fuse: &guard.Fuse{}, Sockets: socket.NewTable(g, log), Events: events,
		Nodes: registry, Store: store, Metrics: prometheus.NewRegistry(),
	}
	r.lb = New(r.host)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = r.lb.Serve(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-served
		g.Wait()
		r.host.Sockets.Close()
		_ = store.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, p := range r.panics {
			if !strings.Contains(p, "test hook") {
				t.Error(p)
			}
		}
	})
	return r
}

// apply prepares and commits p.
func (r *rig) apply(p *plan.Plan) {
	r.t.Helper()
	c, err := r.lb.Prepare(context.Background(), p)
	if err != nil {
		r.t.Fatal(err)
	}
	c.Commit()
	r.host.Events.Apply(p)
}

// waitFor polls until ok, for at most five seconds.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 5 s: %s", what)
}

func (r *rig) waitState(backend, server, state string) {
	r.t.Helper()
	var last string
	waitFor(r.t, backend+"/"+server+" "+state, func() bool {
		last = r.server(backend, server).State
		return last == state
	})
}

func (r *rig) server(backend, name string) ServerStatus {
	for _, b := range r.lb.Table().Backends {
		for _, s := range b.Servers {
			if b.Name == backend && s.Name == name {
				return s
			}
		}
	}
	return ServerStatus{}
}

func (r *rig) dial(to netip.AddrPort) *net.TCPConn {
	r.t.Helper()
	c, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// freeAddr gives an address with a port that nobody listens on.
func freeAddr(t testing.TB, ip string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		netns.SkipOrFail(t, "no address "+ip+": "+err.Error())
	}
	_ = l.Close()
	return freeport.On(t, ip)
}

// backend is a real TCP server. It greets with its name when it has one.
type backend struct {
	addr  netip.AddrPort
	l     net.Listener
	conns atomic.Int64

	mu   sync.Mutex
	open map[net.Conn]bool
}

func newBackend(t testing.TB, addr netip.AddrPort, serve func(*net.TCPConn)) *backend {
	t.Helper()
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{addr: l.Addr().(*net.TCPAddr).AddrPort(), l: l, open: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, unix.EMFILE) { // of a test that takes them all
				time.Sleep(time.Millisecond)
				continue
			}
			if err != nil {
				return
			}
			b.conns.Add(1)
			b.mu.Lock()
			b.open[c] = true
			b.mu.Unlock()
			go func() {
				serve(c.(*net.TCPConn))
				_ = c.Close()
				b.mu.Lock()
				delete(b.open, c)
				b.mu.Unlock()
			}()
		}
	}()
	t.Cleanup(b.close)
	return b
}

func (b *backend) close() {
	_ = b.l.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.open {
		_ = c.Close()
	}
}

func any0(ip string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), 0) }

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// name sends its name and waits for the client to go.
func name(n string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		_, _ = io.WriteString(c, n)
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}
}

// ask connects and reads to the end.
func ask(to netip.AddrPort) (string, error) {
	c, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c)
	return string(b), err
}

func tcpServer(name string, addr netip.AddrPort) plan.Server {
	return plan.Server{Name: name, Address: addr, Weight: 1}
}

var quick = plan.Check{
	Type: plan.CheckTCP, Interval: 40 * time.Millisecond, FastInterval: 20 * time.Millisecond, Timeout: time.Second, Fall: 2, Rise: 2,
}

// lbPlan has one frontend "front" on listen with one backend "back".
func lbPlan(listen netip.AddrPort, check plan.Check, servers ...plan.Server) *plan.Plan {
	return &plan.Plan{LB: plan.LB{
		Enabled: true, MaxConnections: 10000, Retries: 3,
		Frontends: []plan.Frontend{{Name: "front", Listen: []netip.AddrPort{listen}, Backend: "back", ClientTimeout: time.Minute}},
		Backends: []plan.Backend{{
			Name: "back", Balance: plan.RoundRobin, Check: check, ConnectTimeout: 2 * time.Second,
			ServerTimeout: time.Minute, QueueTimeout: time.Second, Servers: servers,
		}},
	}}
}

var unchecked = plan.Check{Type: plan.CheckNone}
