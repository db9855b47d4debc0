package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services/lb/check"
	"helperd/services/lb/engine"
	"helperd/services/lb/stats"
	"helperd/services/lb/table"
)

// fake is a balancer that balances nothing and remembers what it is told. Its servers
// are probed by a real monitor.
type fake struct {
	mu       sync.Mutex
	table    *table.Table
	sessions []engine.Session
	paused   map[string]bool
	cut      []string
}

func (f *fake) Current() *table.Table {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.table
}

func (f *fake) Totals() Totals {
	return Totals{Started: time.Now().Add(-90 * time.Second), Workers: 2, Limit: 1000, Active: 3, Connections: 77, BytesOut: 1 << 40}
}

func (f *fake) Sessions() []engine.Session { return f.sessions }

func (f *fake) Shutdown(id uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sessions {
		if s.ID == id {
			f.cut = append(f.cut, fmt.Sprint(id))
			return true
		}
	}
	return false
}

func (f *fake) ShutdownServer(s *table.Server) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = append(f.cut, s.Name)
	return 1
}

func (f *fake) Pause(name string)       { f.paused[name] = true }
func (f *fake) Resume(name string)      { delete(f.paused, name) }
func (f *fake) Paused(name string) bool { return f.paused[name] }

func (f *fake) SetAdmin(backend, server string, a table.Admin) error {
	return f.each(backend, server, func(m *table.Member) { m.SetAdmin(a) })
}

func (f *fake) SetWeight(backend, server string, w int) error {
	return f.each(backend, server, func(m *table.Member) { m.Override(w) })
}

func (f *fake) SetChecking(backend, server string, on bool) error {
	return f.each(backend, server, func(m *table.Member) { m.SetWatched(on) })
}

func (f *fake) SetHealth(backend, server string, up bool) error {
	return f.each(backend, server, func(*table.Member) { f.cut = append(f.cut, fmt.Sprint("health ", up)) })
}

func (f *fake) SetLimit(backend, server string, n int64) error {
	return f.each(backend, server, func(m *table.Member) { m.Server.SetLimit(n) })
}

func (f *fake) SetFrontendLimit(name string, n int64) error {
	for _, front := range f.Current().Frontends {
		if front.Config.Name == name {
			front.Counters.SetLimit(n)
		}
	}
	return nil
}

func (f *fake) SetTotalLimit(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n == 0 {
		n = 1000
	}
	f.table = f.table.WithLimit(n)
	return nil
}

func (f *fake) each(backend, server string, do func(*table.Member)) error {
	for _, g := range f.Current().Groups {
		for i := range g.Members {
			if m := &g.Members[i]; g.Name == backend && m.Name == server {
				do(m)
				g.Update(time.Now())
				return nil
			}
		}
	}
	return errors.New("none")
}

func (f *fake) member(t *testing.T, backend, server string) *table.Member {
	t.Helper()
	var found *table.Member
	if err := f.each(backend, server, func(m *table.Member) { found = m }); err != nil {
		t.Fatal(err)
	}
	return found
}

// rig is a server of the runtime API with the balancer behind it.
type rig struct {
	*fake
	t      *testing.T
	server *Server
	guard  *guard.Group
	path   string
	plan   *plan.Plan
	ends   ends
}

// ends are the servers that are balanced to: what answers 200, what answers 500, what
// refuses, what says nothing.
type ends struct{ good, red, gone, hang netip.AddrPort }

func newEnds(t *testing.T) ends {
	t.Helper()
	answer := func(status int) netip.AddrPort {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return s.Listener.Addr().(*net.TCPAddr).AddrPort()
	}
	quiet, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { quiet.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	return ends{
		answer(200), answer(500), gone.Addr().(*net.TCPAddr).AddrPort(), quiet.Addr().(*net.TCPAddr).AddrPort(),
	}
}

// ports of the frontends: nobody listens on them.
const firstPort = 17001

// file is what both balancers are told in the comparison with HAProxy.
func file(e ends) *plan.Plan {
	at := func(ports ...uint16) (as []netip.AddrPort) {
		for _, p := range ports {
			as = append(as, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p))
		}
		return as
	}
	probe := plan.Check{Type: plan.CheckHTTP, Path: "/", Status: 200, Interval: 200 * time.Millisecond, FastInterval: 200 * time.Millisecond, Timeout: time.Second, Fall: 2, Rise: 2}
	connect := probe
	connect.Type, connect.Rise, connect.Fall = plan.CheckTCP, 2, 3
	return &plan.Plan{LB: plan.LB{
		Enabled: true, MaxConnections: 1000, Retries: 3,
		Frontends: []plan.Frontend{
			{Name: "front", Listen: at(firstPort, firstPort+1), Backend: "back", MaxConnections: 900},
			{Name: "idle", Listen: at(firstPort + 2), Backend: "raw"},
		},
		Backends: []plan.Backend{
			{Name: "back", Balance: plan.RoundRobin, Check: probe, Servers: []plan.Server{
				{Name: "good", Address: e.good, Weight: 10},
				{Name: "red", Address: e.red, Weight: 1},
				{Name: "gone", Address: e.gone, Weight: 1},
				{Name: "hang", Address: e.hang, Weight: 1},
				{Name: "spare", Address: e.good, Weight: 1, Backup: true},
			}},
			{Name: "raw", Balance: plan.Source, Check: connect, Servers: []plan.Server{
				{Name: "r1", Address: e.good, Weight: 1, NoCheck: true},
				{Name: "r2", Address: e.good, Weight: 1, MaxConnections: 5},
			}},
			{Name: "empty", Balance: plan.LeastConn, Check: probe},
		},
	}}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, fake: &fake{paused: map[string]bool{}}, path: filepath.Join(t.TempDir(), "lb.sock"), ends: newEnds(t)}
	r.plan = file(r.ends)
	r.guard = guard.New(func(name string, v any, stack []byte) { t.Errorf("%s: %v\n%s", name, v, stack) })
	tab, err := table.Build(nil, r.plan)
	if err != nil {
		t.Fatal(err)
	}
	monitor := check.NewMonitor(r.guard, func(check.Change) {}, func(*table.Server) {})
	ctx, cancel := context.WithCancel(context.Background())
	monitor.Apply(ctx, tab)
	tab.Install(time.Now())
	r.table = tab
	r.server = New(r, &stats.Collector{Paused: r.Paused}, r.guard)
	r.move(r.path)
	r.server.Serve(ctx)
	t.Cleanup(func() {
		cancel()
		monitor.Stop()
		r.guard.Wait()
		r.server.Close()
	})
	r.eventually("the first checks", func() bool {
		for _, g := range tab.Groups {
			for i := range g.Members {
				if st, _ := g.Members[i].State(); st == table.Starting {
					return false
				}
			}
		}
		return true
	})
	return r
}

// move makes the server listen on another path.
func (r *rig) move(path string) {
	r.t.Helper()
	c, err := r.server.Prepare(path)
	if err != nil {
		r.t.Fatal(err)
	}
	c.Commit()
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	r.t.Fatalf("not within 20 s: %s", what)
}

// ask sends a line as socat does and gives the answer to its end.
func ask(t *testing.T, path, line string) string {
	t.Helper()
	c := dial(t, path)
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(b)
}

func (r *rig) ask(line string) string {
	r.t.Helper()
	return ask(r.t, r.path, line)
}

func dial(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.UnixConn)
}

func fuzzTable(f *testing.F) *table.Table {
	at := netip.MustParseAddrPort("127.0.0.1:1")
	tab, err := table.Build(nil, file(ends{at, at, at, at}))
	if err != nil {
		f.Fatal(err)
	}
	tab.Install(time.Now())
	return tab
}
