package lb

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"helperd/plan"
	"helperd/services/lb/check"
	"helperd/services/lb/table"
	"helperd/state"
	"helperd/timeline"
)

func (r *rig) member(backend, server string) *table.Member {
	r.lb.mu.Lock()
	defer r.lb.mu.Unlock()
	_, m := r.lb.table.Find(backend, server)
	return m
}

func (r *rig) group(backend string) *table.Group {
	r.lb.mu.Lock()
	defer r.lb.mu.Unlock()
	for _, g := range r.lb.table.Groups {
		if g.Name == backend {
			return g
		}
	}
	return nil
}

func (r *rig) order(backend, server string, a table.Admin) {
	r.t.Helper()
	if err := r.lb.SetAdmin(backend, server, a); err != nil {
		r.t.Fatal(err)
	}
}

// TestDrain: no new connections, open ones live on, checks go on; ready gives all back.
func TestDrain(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	a, b := newBackend(t, any0("127.0.0.1"), echo), newBackend(t, any0("127.0.0.1"), echo)
	r.apply(lbPlan(front, quick, tcpServer("a", a.addr), tcpServer("b", b.addr)))
	r.waitState("back", "a", "up")
	r.waitState("back", "b", "up")
	for _, admin := range []table.Admin{table.Drain, table.Maint} {
		r.order("back", "b", admin)
		open := r.dial(front)
		exchange(t, open)
		r.order("back", "a", admin)
		r.order("back", "b", table.Ready)
		r.waitState("back", "b", "up")
		last := r.member("back", "a").Last().At
		for range 10 {
			c := r.dial(front)
			exchange(t, c)
			_ = c.Close()
		}
		exchange(t, open)
		if n := r.member("back", "a").Active.Load(); n != 1 {
			t.Errorf("%s: %d tunnels to a, want the one that was open", admin, n)
		}
		if admin == table.Drain {
			waitFor(t, "a is still checked", func() bool { return r.member("back", "a").Last().At.After(last) })
		} else {
			time.Sleep(5 * quick.Interval) // nothing may come
			if at := r.member("back", "a").Last().At; at.After(last) {
				t.Error("checked in maintenance")
			}
		}
		r.order("back", "a", table.Ready)
		r.waitState("back", "a", "up")
		exchange(t, open)
		_ = open.Close()
	}
	told := map[string]int{}
	for _, e := range r.host.Events.Since(0) {
		if e.Kind == timeline.LBOrdered {
			told[e.Detail] += 1 + e.Repeated
		}
	}
	want := map[string]int{
		"back/a: drain, by the administrator": 1, "back/a: maint, by the administrator": 1, "back/a: ready, by the administrator": 2,
		"back/b: drain, by the administrator": 1, "back/b: maint, by the administrator": 1, "back/b: ready, by the administrator": 2,
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}

// TestOrdersAreKept over reloads, moves of the server and restarts, until the server leaves the file.
func TestOrdersAreKept(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	servers := []plan.Server{tcpServer("a", any1(1)), tcpServer("b", any1(2)), tcpServer("c", any1(3))}
	r.apply(lbPlan(front, unchecked, servers...))
	r.order("back", "a", table.Drain)
	r.order("back", "b", table.Maint)
	for name, w := range map[string]int{"a": 0, "b": 7, "c": 9} {
		if err := r.lb.SetWeight("back", name, w); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want map[string]string, of *Service) {
		t.Helper()
		got := map[string]string{}
		of.mu.Lock()
		defer of.mu.Unlock()
		for m := range of.table.Members() {
			got[m.Name] = m.Admin().String()
			if m.Weight() != m.Config.Weight {
				got[m.Name] += " " + string(rune('0'+m.Weight()))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	all := map[string]string{"a": "drain 0", "b": "maint 7", "c": "ready 9"}
	check("at once", all, r.lb)
	servers[0].Address = any1(4)
	r.apply(lbPlan(front, unchecked, servers...))
	check("after a reload that moves a", all, r.lb)
	again := func() *Service {
		host := r.host
		host.Metrics = prometheus.NewRegistry()
		s := New(host)
		c, err := s.Prepare(t.Context(), lbPlan(front, unchecked, servers...))
		if err != nil {
			t.Fatal(err)
		}
		c.Commit()
		return s
	}
	check("after a restart", all, again())
	off := lbPlan(front, unchecked, servers...)
	off.LB = plan.LB{}
	r.apply(off)
	r.apply(lbPlan(front, unchecked, servers...))
	check("after the balancer was off", all, r.lb)

	if err := r.lb.SetWeight("back", "c", -1); err != nil {
		t.Fatal(err)
	}
	r.apply(lbPlan(front, unchecked, servers[1:]...))
	r.apply(lbPlan(front, unchecked, servers...))
	want := map[string]string{"a": "ready", "b": "maint 7", "c": "ready"}
	check("after a left the file", want, r.lb)
	if !slices.ContainsFunc(r.host.Events.Since(0), func(e timeline.Event) bool {
		return e.Kind == timeline.LBOrdered && e.Detail == "back/a: drain, weight 0 is forgotten: the server is not in the file any more"
	}) {
		t.Error("nobody is told that an order is forgotten")
	}
	waitFor(t, "the order is off the disk", func() bool {
		stored, err := r.host.Store.Orders()
		return err == nil && len(stored) == 1 && stored["back/b"] != nil
	})
	check("after a restart", want, again())
}

// TestOrderIsKeptAtTheSecondTry: who gives an order again because it was not written has it written.
func TestOrderIsKeptAtTheSecondTry(t *testing.T) {
	r := newRig(t)
	r.apply(lbPlan(freeAddr(t, "127.0.0.1"), unchecked, tcpServer("a", any1(1))))
	broken, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	_ = broken.Close()
	good := r.lb.host.Store
	r.lb.host.Store = broken
	for range 2 {
		if err := r.lb.SetAdmin("back", "a", table.Drain); err == nil {
			t.Error("it says that the order is kept")
		}
	}
	r.lb.host.Store = good
	r.order("back", "a", table.Drain)
	if stored, err := good.Orders(); err != nil || stored["back/a"] == nil {
		t.Errorf("on disk: %q, %v", stored, err)
	}
}

// TestMaintFromStart: a server in maintenance is not probed after a restart, and takes nothing.
func TestMaintFromStart(t *testing.T) {
	r := newRig(t)
	if err := r.host.Store.PutOrders(map[string][]byte{
		"back/a": []byte(`{"admin":"maint"}`), "back/b": []byte(`{"admin":"asleep"}`),
	}); err != nil {
		t.Fatal(err)
	}
	front := freeAddr(t, "127.0.0.1")
	a, b := newBackend(t, any0("127.0.0.1"), name("a")), newBackend(t, any0("127.0.0.1"), name("b"))
	r.apply(lbPlan(front, quick, tcpServer("a", a.addr), tcpServer("b", b.addr)))
	r.waitState("back", "b", "up")
	time.Sleep(5 * quick.Interval)
	if got := tally(t, 4, func() (net.Conn, error) { return net.Dial("tcp", front.String()) }); got["b"] != 4 {
		t.Errorf("got %v", got)
	}
	if n := a.conns.Load(); n != 0 {
		t.Errorf("a was connected %d times", n)
	}
}

func TestOrderTargets(t *testing.T) {
	r := newRig(t)
	ip := netip.MustParseAddr
	node := func(fqdn, addr string) *plan.Node {
		short, _, _ := strings.Cut(fqdn, ".")
		return &plan.Node{FQDN: fqdn, Name: short, IP: ip(addr)}
	}
	server := func(name, addr, fqdn string) plan.Server {
		return plan.Server{Name: name, Address: netip.AddrPortFrom(ip(addr), 443), Weight: 1, Node: fqdn}
	}
	p := &plan.Plan{
		Nodes: []*plan.Node{node("w0.a.example.com", "192.0.2.1"), node("w1.a.example.com", "192.0.2.2"), node("w0.b.example.com", "192.0.2.3")},
		LB: plan.LB{Enabled: true, Backends: []plan.Backend{
			{Name: "a-http", Servers: []plan.Server{server("w0", "192.0.2.1", "w0.a.example.com"), server("w1", "192.0.2.2", "w1.a.example.com")}},
			{Name: "a-https", Servers: []plan.Server{server("w0", "192.0.2.1", "w0.a.example.com"), server("w1", "192.0.2.2", "w1.a.example.com")}},
			{Name: "b-http", Servers: []plan.Server{server("w0", "192.0.2.3", "w0.b.example.com")}},
			{Name: "git", Servers: []plan.Server{server("g1", "192.0.2.9", ""), server("g2", "192.0.2.2", "")}},
			{Name: "db", Servers: []plan.Server{server("g1", "192.0.2.9", ""), server("main", "192.0.2.8", "")}},
			{Name: "db2", Servers: []plan.Server{server("main", "192.0.2.7", "")}},
		}},
	}
	r.apply(p)
	tests := []struct {
		target string
		want   []string
		err    string
	}{
		{"a-http/w0", []string{"a-http/w0"}, ""},
		{"w0.b.example.com", []string{"b-http/w0"}, ""},
		{"w1", []string{"a-http/w1", "a-https/w1", "git/g2"}, ""},
		{"g1", []string{"db/g1", "git/g1"}, ""},
		{"g2", []string{"git/g2"}, ""},
		{"w0", nil, `"w0" is the name of several machines; write one of w0.a.example.com, w0.b.example.com`},
		{"main", nil, `"main" is the name of several machines; write one of db/main, db2/main`},
		{"w7", nil, `no server "w7"; did you mean w0, w1?`},
		{"git/g3", nil, `no server "git/g3"; did you mean git/g1, git/g2?`},
		{"loadbalancer", nil, "no server \"loadbalancer\"; `helperd lb` lists them"},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			done, err := r.lb.Order(tt.target, table.Drain)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(done.Servers)
			if diff := cmp.Diff(tt.want, done.Servers); diff != "" {
				t.Error(diff)
			}
			for _, name := range tt.want {
				backend, server, _ := strings.Cut(name, "/")
				if a := r.member(backend, server).Admin(); a != table.Drain {
					t.Errorf("%s is %s", name, a)
				}
			}
			if _, err := r.lb.Order(tt.target, table.Ready); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestSetUnknown(t *testing.T) {
	r := newRig(t)
	if err := r.lb.SetAdmin("back", "a", table.Drain); !errors.Is(err, ErrUnknown) {
		t.Errorf("before the first table: %v", err)
	}
	r.apply(lbPlan(freeAddr(t, "127.0.0.1"), unchecked, tcpServer("a", any1(1))))
	for _, name := range []string{"b", ""} {
		if err := r.lb.SetWeight("back", name, 3); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, w := range []int{-2, 257} {
		if err := r.lb.SetWeight("back", "a", w); err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("weight %d: %v", w, err)
		}
	}
}

// TestLostByWish: people are told when nobody but they keep a backend from its servers.
func TestLostByWish(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	a, b := newBackend(t, any0("127.0.0.1"), name("a")), newBackend(t, any0("127.0.0.1"), name("b"))
	r.apply(lbPlan(front, quick, tcpServer("a", a.addr), tcpServer("b", b.addr)))
	r.waitState("back", "a", "up")
	r.waitState("back", "b", "up")
	if done, err := r.lb.Order("b", table.Maint); err != nil || done.Warnings != nil {
		t.Errorf("%v, %q", err, done.Warnings)
	}
	done, err := r.lb.Order("a", table.Drain)
	want := []string{"backend back has no server only because the administrator wants so (a: drain, b: maint), new connections are closed: write `helperd lb ready back/a`"}
	if diff := cmp.Diff(want, done.Warnings); err != nil || diff != "" {
		t.Error(err, diff)
	}
	st := r.lb.Status()
	if st.Problem != want[0] {
		t.Errorf("status: %s", st.Problem)
	}
	notes := []string{"by order of the administrator: back/a drain, back/b maint; `helperd lb ready` takes an order back"}
	if diff := cmp.Diff(notes, st.Notes); diff != "" {
		t.Error(diff)
	}
	if b := r.group("back"); b.Downtime(time.Now()) <= 0 || b.Falls.Load() != 1 {
		t.Errorf("the backend fell %d times and was down for %s", b.Falls.Load(), b.Downtime(time.Now()))
	}
	b.close()
	r.order("back", "b", table.Ready)
	r.waitState("back", "b", "dead")
	if p := r.lb.Status().Problem; !strings.Contains(p, "a: drain, b: connection refused") {
		t.Errorf("status: %s", p)
	}
	if _, err := r.lb.Order("a", table.Ready); err != nil {
		t.Fatal(err)
	}
	if st := r.lb.Status(); st.Problem != "" || st.Notes != nil {
		t.Errorf("status: %+v", st)
	}
}

// TestBootstrapEvents: people are told that bootstrap retired, and that it is used again.
func TestBootstrapEvents(t *testing.T) {
	r := newRig(t)
	s := tcpServer("bootstrap", any1(1))
	s.Bootstrap, s.Backup, s.Node = true, true, "bootstrap.ocp4.example.com"
	r.apply(lbPlan(freeAddr(t, "127.0.0.1"), unchecked, s, tcpServer("m0", any1(2))))
	g, m := r.group("back"), *r.member("back", "bootstrap")
	turn := func(from, to table.State) {
		r.lb.changed(check.Change{Group: g, Server: m, From: from, To: to, Detail: "refused"})
	}
	turn(table.Dead, table.Retired)
	turn(table.Retired, table.Up)
	var got []string
	for _, e := range r.host.Events.Since(0) {
		if e.Node != s.Node || e.Trouble() {
			t.Errorf("event %+v", e)
		}
		got = append(got, string(e.Kind)+" "+e.Detail)
	}
	want := []string{
		"lb.retired back/bootstrap: all masters have answered for 10 minutes and the API of bootstrap is down: it takes no connections any more; remove the node from the file when you like",
		"lb.recalled back/bootstrap: a master does not answer, and bootstrap does: connections may go to it again; look at the masters",
		"lb.up back/bootstrap",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// exchange sends a byte through a tunnel to an echo server and gets it back.
func exchange(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func any1(host byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, host}), 443)
}
