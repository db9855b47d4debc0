package stats

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"helperd/plan"
	"helperd/services/lb/check"
	"helperd/services/lb/table"
)

// server answers each connection with text, and says nothing more.
func server(t *testing.T, text string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			_, _ = io.WriteString(c, text)
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// TestStatusOf: what real probes say has HAProxy's name.
func TestStatusOf(t *testing.T) {
	silent, text, ok := server(t, ""), server(t, "hello\r\n\r\n"), server(t, "HTTP/1.1 200 OK\r\n\r\n")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	tests := []struct {
		name    string
		kind    plan.CheckType
		at      netip.AddrPort
		timeout time.Duration
		status  int
		want    string
		code    int
	}{
		{"connected", plan.CheckTCP, silent, 5 * time.Second, 0, "L4OK", 0},
		{"refused", plan.CheckTCP, gone, 5 * time.Second, 0, "L4CON", 0},
		{"no answer to a connect", plan.CheckTCP, silent, 1, 0, "L4TOUT", 0},
		{"no TLS", plan.CheckHTTPS, text, 5 * time.Second, 200, "L6RSP", 0},
		{"silent in TLS", plan.CheckHTTPS, silent, 200 * time.Millisecond, 200, "L6TOUT", 0},
		{"silent in HTTP", plan.CheckHTTP, silent, 200 * time.Millisecond, 200, "L7TOUT", 0},
		{"no HTTP", plan.CheckHTTP, text, 5 * time.Second, 200, "L7RSP", 0},
		{"well", plan.CheckHTTP, ok, 5 * time.Second, 200, "L7OK", 200},
		{"another status", plan.CheckHTTP, ok, 5 * time.Second, 204, "L7STS", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := plan.Check{Type: tt.kind, Timeout: tt.timeout, Status: tt.status}
			r := check.Probe(t.Context(), c, "/", tt.at, func(net.Conn) {})
			if got := StatusOf(&r); got.Name != tt.want || r.Status != tt.code {
				t.Errorf("%q is %s %d, want %s %d", r.Detail, got.Name, r.Status, tt.want, tt.code)
			}
		})
	}
	if got := StatusOf(nil); got.Name != "INI" {
		t.Error(got)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	r := check.Probe(canceled, plan.Check{Type: plan.CheckTCP, Timeout: time.Second}, "/", ok, func(net.Conn) {})
	if got := StatusOf(&r); got.Name != "SOCKERR" || r.OK {
		t.Errorf("a check that was not made is %s", got.Name)
	}
}

// TestFallback: servers that are used although they are down are told from those that are not.
func TestFallback(t *testing.T) {
	p := &plan.Plan{LB: plan.LB{Enabled: true, Backends: []plan.Backend{{Name: "b", Check: plan.Check{Type: plan.CheckHTTP}}}}}
	for _, name := range []string{"s0", "s1", "s2"} {
		p.LB.Backends[0].Servers = append(p.LB.Backends[0].Servers, plan.Server{Name: name, Address: netip.MustParseAddrPort("192.0.2.1:1"), Weight: 1})
	}
	tab, err := table.Build(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	tab.Install(time.Now())
	g := tab.Groups[0]
	c := &Collector{Paused: func(string) bool { return false }}
	seen := func() (active string, texts []string) {
		for _, r := range c.Rows(tab, time.Now()) {
			if r.kind == Backend {
				return r.Stat()["act"], texts
			}
			texts = append(texts, r.Stat()["last_chk"])
		}
		return "", nil
	}
	for i := range g.Members {
		m := &g.Members[i]
		m.Checked(&table.Result{Outcome: table.WrongStatus, Status: 500, Detail: "HTTP 500"})
		m.Set(table.Unready, time.Now())
		m.SetFallback(true)
	}
	g.Members[2].SetAdmin(table.Drain)
	if active, texts := seen(); active != "2" || texts[0] != "HTTP 500, used as no server is up" || texts[2] != "HTTP 500" {
		t.Errorf("%s active: %q", active, texts)
	}
	g.Members[0].Set(table.Up, time.Now())
	if active, texts := seen(); active != "1" || texts[1] != "HTTP 500" {
		t.Errorf("with one up, %s active: %q", active, texts)
	}
}

// TestCondition: the words for servers on their way, as HAProxy has them.
func TestCondition(t *testing.T) {
	tests := []struct {
		name   string
		state  table.State
		checks string // + went well, - did not; the last one last
		admin  table.Admin
		word   string
		health int
	}{
		{"up", table.Up, "++++", table.Ready, "UP", 4},
		{"up, one failure", table.Up, "+++-", table.Ready, "UP 1/2", 3},
		{"drained, one failure", table.Up, "+++-", table.Drain, "DRAIN 1/2", 3},
		{"down", table.Unready, "+---", table.Ready, "DOWN", 0},
		{"down, one success", table.Unready, "---+", table.Ready, "DOWN 1/3", 1},
		{"down, two successes", table.Dead, "--++", table.Ready, "DOWN 2/3", 2},
		{"down and drained", table.Dead, "----", table.Drain, "DOWN", 0},
		{"starting", table.Starting, "", table.Ready, "DOWN", 0},
		{"maintenance", table.Starting, "+", table.Maint, "MAINT", 0},
		{"retired", table.Retired, "---", table.Ready, "MAINT (retired)", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &plan.Plan{LB: plan.LB{Enabled: true, Backends: []plan.Backend{{
				Name: "b", Check: plan.Check{Type: plan.CheckTCP, Rise: 3, Fall: 2},
				Servers: []plan.Server{{Name: "s", Address: netip.MustParseAddrPort("192.0.2.1:1"), Weight: 1}},
			}}}}
			tab, err := table.Build(nil, p)
			if err != nil {
				t.Fatal(err)
			}
			m := &tab.Groups[0].Members[0]
			for _, c := range tt.checks {
				m.Checked(&table.Result{OK: c == '+'})
			}
			m.Set(tt.state, time.Now())
			m.SetAdmin(tt.admin)
			c := ConditionOf(tab.Groups[0], m)
			if c.status() != tt.word || c.Health != tt.health {
				t.Errorf("%s with health %d, want %s with %d", c.status(), c.Health, tt.word, tt.health)
			}
		})
	}
}
