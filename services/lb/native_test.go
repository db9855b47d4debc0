package lb

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	native "github.com/haproxytech/client-native/v6/runtime"
	"github.com/haproxytech/client-native/v6/runtime/options"

	"helperd/plan"
	"helperd/services/lb/table"
)

// withRuntime is a balancer with two servers under checks and the runtime API.
func withRuntime(t *testing.T) (r *rig, p *plan.Plan) {
	t.Helper()
	r = newRig(t)
	a, b := newBackend(t, any0("127.0.0.1"), name("a")), newBackend(t, any0("127.0.0.1"), name("b"))
	sa, sb := tcpServer("a", a.addr), tcpServer("b", b.addr)
	sa.Weight, sb.Weight = 10, 10
	p = lbPlan(freeAddr(t, "127.0.0.1"), quick, sa, sb)
	p.LB.StatsSocket = filepath.Join(t.TempDir(), "lb.sock")
	r.apply(p)
	r.waitState("back", "a", "up")
	r.waitState("back", "b", "up")
	return r, p
}

// TestClientNative: the runtime client of HAProxy's own tools, all of it that makes sense here.
func TestClientNative(t *testing.T) {
	r, p := withRuntime(t)
	c, err := native.New(t.Context(), options.Socket(p.LB.StatsSocket))
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if _, err := ask(p.LB.Frontends[0].Listen[0]); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if v, err := c.GetVersion(); err != nil || v.Major != 2 || v.Minor != 6 {
		t.Errorf("version %+v, %v", v, err)
	}
	info, err := c.GetInfo()
	must(err)
	if i := info.Info; info.Error != "" || i == nil || i.Pid == nil || *i.Pid == 0 || i.MaxConn == nil || *i.MaxConn == 0 || i.CumConns == nil || *i.CumConns < 6 || i.Uptime == nil {
		t.Errorf("info %+v %s", i, info.Error)
	}
	kinds := map[string]int{}
	st := c.GetStats()
	for _, s := range st.Stats {
		kinds[s.Type]++
		if s.Type == "server" && (s.BackendName != "back" || s.Stats.Status != "UP" || s.Stats.Weight == nil || *s.Stats.Weight != 10 || *s.Stats.Stot != 3 || s.Stats.CheckStatus != "L4OK") {
			t.Errorf("server %s: %+v", s.Name, s.Stats)
		}
	}
	if st.Error != "" || kinds["frontend"] != 1 || kinds["backend"] != 1 || kinds["server"] != 2 {
		t.Errorf("statistics of %v: %s", kinds, st.Error)
	}

	state := func(admin, operational string) {
		t.Helper()
		waitFor(t, "state "+admin+" "+operational, func() bool {
			s, err := c.GetServerState("back", "a")
			return err == nil && s.AdminState == admin && s.OperationalState == operational
		})
	}
	state("ready", "up")
	if all, err := c.GetServersState("back"); err != nil || len(all) != 2 || all[1].Name != "b" || *all[1].Port != int64(p.LB.Backends[0].Servers[1].Address.Port()) {
		t.Errorf("servers %v, %v", all, err)
	}
	must(c.SetServerState("back", "a", "drain"))
	state("drain", "up")
	if got := r.member("back", "a").Admin(); got != table.Drain {
		t.Errorf("the balancer has %s", got)
	}
	must(c.DisableServer("back", "a"))
	state("maint", "down")
	must(c.EnableServer("back", "a"))
	state("ready", "up")
	must(c.SetServerWeight("back", "a", "40"))
	if got := r.member("back", "a").Weight(); got != 40 {
		t.Errorf("weight %d", got)
	}
	must(c.SetServerWeight("back", "a", "50%"))
	if got := r.member("back", "a").Weight(); got != 5 {
		t.Errorf("weight %d", got)
	}
	must(c.SetServerWeight("back", "a", "100%"))
	must(c.SetFrontendMaxConn("front", 77))
	row := regexp.MustCompile(`(?m)^front,FRONTEND,,,0,[1-6],77,6,`) // a worker may not have seen the end of one when another begins the next
	if raw, err := c.ExecuteRaw("show stat front 1 -1"); err != nil || !row.MatchString(raw) {
		t.Errorf("%s, %v", raw, err)
	}
	must(c.EnableServerHealth("back", "a"))
	must(c.SetServerHealth("back", "a", "down"))
	state("ready", "up") // its checks say so
	must(c.DisableAgentCheck("back", "a"))
	must(c.ClearCounters())
	must(c.ClearAllCounters())
	for _, s := range c.GetStats().Stats {
		if s.Stats.Stot == nil || *s.Stats.Stot != 0 {
			t.Errorf("%s has %v connections after they were cleared", s.Name, s.Stats.Stot)
		}
	}
	if tables, err := c.ShowTables(); err != nil || len(tables) != 0 {
		t.Errorf("tables %v, %v", tables, err)
	}
	if !c.IsStatsSocket() || c.SocketPath() != p.LB.StatsSocket {
		t.Error(c.SocketPath())
	}

	for what, err := range map[string]error{
		"AddServer":          c.AddServer("back", "c", "127.0.0.1:1"),
		"DeleteServer":       c.DeleteServer("back", "a"),
		"SetServerAddr":      c.SetServerAddr("back", "a", "127.0.0.9", 99),
		"SetServerCheckPort": c.SetServerCheckPort("back", "a", 99),
		"SetServerAgentAddr": c.SetServerAgentAddr("back", "a", "127.0.0.9"),
		"AddACLFileEntry":    c.AddACLFileEntry("0", "v"),
		"NewCertEntry":       c.NewCertEntry("x.pem"),
		"SetCertEntry":       c.SetCertEntry("x.pem", "a payload\nshow version\n"),
		"ShowMaps":           second(c.ShowMaps()),
		"GetACLFiles":        second(c.GetACLFiles()),
		"ShowCerts":          second(c.ShowCerts()),
		"ShowCrtLists":       second(c.ShowCrtLists()),
		"ShowCAFiles":        second(c.ShowCAFiles()),
	} {
		if err == nil || !strings.Contains(err.Error(), "helperd's configuration file is the place") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"an unknown server":  c.SetServerState("back", "x", "drain"),
		"an unknown backend": second(c.GetServersState("x")),
		"no agent":           c.EnableAgentCheck("back", "a"),
	} {
		if err == nil {
			t.Errorf("%s is no error", what)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestEvents: a listener for events is told that there are none of that name, and hangs nowhere.
func TestEvents(t *testing.T) {
	_, p := withRuntime(t)
	l, err := native.NewEventListener("unix", p.LB.StatsSocket, "dpapi", 5*time.Second)
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err = l.Listen(ctx); err == nil {
			t.Error("an event")
		}
		_ = l.Close()
	}
}

// socat runs a one-liner of HAProxy's documentation.
func socat(t *testing.T, path, line string) string {
	t.Helper()
	cmd := exec.Command("socat", "-t", "10", "stdio", "unix-connect:"+path)
	cmd.Stdin = strings.NewReader(line + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("socat: %v: %s", err, out)
	}
	return string(out)
}

// sessionsOf waits until there are n connections and gives their lines.
func sessionsOf(t *testing.T, path string, n int) []string {
	t.Helper()
	var lines []string
	waitFor(t, fmt.Sprint(n, " sessions"), func() bool {
		lines = strings.Split(strings.TrimRight(socat(t, path, "show sess"), "\n"), "\n")
		if lines[0] == "" {
			lines = nil
		}
		return len(lines) == n
	})
	return lines
}
