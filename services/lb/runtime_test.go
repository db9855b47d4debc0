package lb

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"helperd/internal/netns"
	"helperd/services/lb/table"
)

// TestSocat: the one-liners of HAProxy's documentation on a balancer that balances.
func TestSocat(t *testing.T) {
	netns.Tools(t, "socat")
	r, p := withRuntime(t)
	front, path := p.LB.Frontends[0].Listen[0], p.LB.StatsSocket
	echoes := newBackend(t, any0("127.0.0.1"), echo)
	p.LB.Backends[0].Servers[0].Address = echoes.addr
	p.LB.Backends[0].Servers[1].Address = echoes.addr
	r.apply(p)
	r.waitState("back", "a", "up")
	r.waitState("back", "b", "up")
	talk := func(c *net.TCPConn) {
		t.Helper()
		_, _ = io.WriteString(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	one, two := r.dial(front), r.dial(front)
	talk(one)
	talk(two)
	lines := sessionsOf(t, path, 2)
	var id string
	for _, l := range lines {
		if strings.Contains(l, "src="+one.LocalAddr().String()+" ") {
			id, _, _ = strings.Cut(l, ":")
		}
		if !strings.Contains(l, " fe=front be=back srv=") {
			t.Errorf("%s", l)
		}
	}
	if got := socat(t, path, "shutdown session "+id); got != "\n" {
		t.Errorf("shutdown session %s: %q", id, got)
	}
	if _, err := one.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives on")
	}
	talk(two)
	for _, s := range []string{"a", "b"} {
		socat(t, path, "shutdown sessions server back/"+s)
	}
	if _, err := two.Read(make([]byte, 1)); err == nil {
		t.Error("the second connection lives on")
	}
	sessionsOf(t, path, 0)

	// A paused frontend lets clients wait.
	if got := socat(t, path, "disable frontend front"); got != "\n" {
		t.Errorf("%q", got)
	}
	waiting := r.dial(front)
	_, _ = io.WriteString(waiting, "y")
	_ = waiting.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := waiting.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("at a paused frontend: %v", err)
	}
	if got := socat(t, path, "show stat front 1 -1"); !strings.Contains(got, ",PAUSED,") {
		t.Errorf("%s", got)
	}
	socat(t, path, "enable frontend front")
	_ = waiting.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := waiting.Read(make([]byte, 1)); err != nil {
		t.Errorf("after it was enabled: %v", err)
	}

	// Limits.
	socat(t, path, "set maxconn server back/a 1;set maxconn server back/b 1;set maxconn global 50")
	if got := socat(t, path, "show info"); !strings.Contains(got, "\nMaxconn: 50\nHard_maxconn: ") {
		t.Errorf("%s", got)
	}
	second := r.dial(front)
	talk(second)
	third := r.dial(front)
	_, _ = io.WriteString(third, "z")
	waitFor(t, "a queue", func() bool { return r.lb.table.Groups[0].Queued.Load() == 1 })
	socat(t, path, "set maxconn server back/a 0")
	_ = third.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := third.Read(make([]byte, 1)); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("with room again: %v", err)
	}
	r.apply(p)
	if got := r.lb.Table().MaxConnections; got != 50 {
		t.Errorf("after a reload the limit is %d", got)
	}
	socat(t, path, "set maxconn global 10000")
	if got := r.lb.Table().MaxConnections; got < 50 {
		t.Errorf("limit %d", got)
	}
}

// TestHealthByHand: checks may be suspended, and a state may be set.
func TestHealthByHand(t *testing.T) {
	netns.Tools(t, "socat")
	r, p := withRuntime(t)
	path := p.LB.StatsSocket
	socat(t, path, "disable health back/a;set server back/a health down")
	if got := r.server("back", "a").State; got != "unready" {
		t.Errorf("%s", got)
	}
	n := r.server("back", "a").Last.At
	waitFor(t, "checks of b", func() bool { return r.server("back", "b").Last.At.Sub(n) > 300*time.Millisecond })
	if s := r.server("back", "a"); s.State != "unready" || s.Last.At.Sub(n) > 100*time.Millisecond {
		t.Errorf("it is checked: %s", s.State)
	}
	r.apply(p)
	if got := r.server("back", "a").State; got != "unready" {
		t.Errorf("after a reload: %s", got)
	}
	socat(t, path, "enable health back/a")
	r.waitState("back", "a", "up")
}

// TestHealthInMaintenance: what is said of the health of a server in maintenance counts for nothing
// after it, and one whose checks are suspended has the state that it had.
func TestHealthInMaintenance(t *testing.T) {
	netns.Tools(t, "socat")
	r, p := withRuntime(t)
	path := p.LB.StatsSocket
	r.order("back", "a", table.Maint)
	if got := socat(t, path, "set server back/a health up"); !strings.Contains(got, "maintenance") {
		t.Errorf("%q", got)
	}
	if got := r.server("back", "a").State; got != "starting" {
		t.Errorf("in maintenance it is %s", got)
	}
	socat(t, path, "disable health back/b")
	r.order("back", "b", table.Maint)
	r.order("back", "b", table.Ready)
	if got := r.server("back", "b").State; got != "up" {
		t.Errorf("without checks it is %s, for ever", got)
	}
}

// TestRuntimeWishesAreShown: what people did by the runtime API is seen where others look.
func TestRuntimeWishesAreShown(t *testing.T) {
	netns.Tools(t, "socat")
	r, p := withRuntime(t)
	path := p.LB.StatsSocket
	socat(t, path, "disable health back/a;disable frontend front")
	if got := r.server("back", "a"); got.Now() != "up, checks suspended" {
		t.Errorf("%s", got.Now())
	}
	if !r.lb.Table().Frontends[0].Paused {
		t.Error("the frontend is not paused")
	}
	st := r.lb.Status()
	if st.State != "degraded" || st.Problem != "frontend front is paused by the runtime API and its clients wait: write `enable frontend front` there" {
		t.Errorf("%s: %s", st.State, st.Problem)
	}
	want := []string{"checks are suspended by the runtime API: back/a; `enable health BACKEND/SERVER` there takes them up again"}
	if diff := cmp.Diff(want, st.Notes); diff != "" {
		t.Error(diff)
	}
	socat(t, path, "enable health back/a;enable frontend front")
	if st := r.lb.Status(); st.State != "up" || st.Notes != nil || r.lb.Table().Frontends[0].Paused {
		t.Errorf("%+v", st)
	}
}

// TestRuntimeSocketOfTheFile: a bad path is an error of the file, and what was served goes on.
func TestRuntimeSocketOfTheFile(t *testing.T) {
	r, p := withRuntime(t)
	bad := *p
	bad.LB.StatsSocket = filepath.Join(t.TempDir(), "none", "lb.sock")
	if _, err := r.lb.Prepare(t.Context(), &bad); err == nil || !strings.Contains(err.Error(), "lb.stats_socket: the folder") {
		t.Errorf("%v", err)
	}
	if _, err := net.Dial("unix", p.LB.StatsSocket); err != nil {
		t.Error(err)
	}
	host := r.host
	host.Metrics = prometheus.NewRegistry()
	if _, err := New(host).Prepare(t.Context(), lbPlan(p.LB.Frontends[0].Listen[0], quick, p.LB.Backends[0].Servers...)); err != nil {
		t.Error(err)
	}
	p.LB.StatsSocket = ""
	r.apply(p)
	if _, err := os.Lstat(p.LB.StatsSocket); err == nil {
		t.Error("the socket is left")
	}
}

// tmux is a terminal that a program runs in.
type tmux struct {
	t      *testing.T
	socket string
}

func (x *tmux) do(args ...string) string {
	x.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", x.socket}, args...)...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// press sends a key until the screen shows what it should.
func (x *tmux) press(key, what string, ok func(screen string) bool) {
	x.t.Helper()
	var screen string
	end := time.Now().Add(20 * time.Second)
	if key != "" {
		x.do("send-keys", "-t", "0", key)
	}
	for ; time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if screen = x.do("capture-pane", "-p", "-t", "0"); ok(screen) {
			return
		}
	}
	x.t.Fatalf("%s: not on the screen after %q:\n%s", what, key, screen)
}

// TestHatop: the real one, in a terminal, with its keys and its command line.
func TestHatop(t *testing.T) {
	netns.Tools(t, "hatop", "tmux")
	r, p := withRuntime(t)
	x := &tmux{t, filepath.Join(t.TempDir(), "tmux")}
	x.do("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "env TERM=screen hatop -i 1 -s "+p.LB.StatsSocket+" 2>&1; echo hatop ended; sleep 60")
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", x.socket, "kill-server").Run() })
	// line of a server: NAME W STATUS CHECK ...
	shows := func(server string, fields ...string) func(string) bool {
		return func(screen string) bool {
			for l := range strings.Lines(screen) {
				f := strings.Fields(l)
				if len(f) > len(fields) && f[0] == server && strings.Join(f[1:1+len(fields)], " ") == strings.Join(fields, " ") {
					return true
				}
			}
			return false
		}
	}
	x.press("", "status of a", shows("a", "10", "UP", "L4OK"))
	x.press("", "status of b", shows("b", "10", "UP", "L4OK"))
	x.press("", "version", func(s string) bool { return strings.Contains(s, "HAProxy Version: 2.6.12-helperd") })
	x.press("Down", "the first server is marked", shows("a", "10", "UP"))
	for range 3 { // to the line of a: the frontend's heading and row, and the backend's heading, come before
		x.do("send-keys", "-t", "0", "Down")
	}
	for i := 0; r.member("back", "a").Admin() == table.Ready && r.member("back", "b").Admin() == table.Ready; i++ {
		if i == 8 {
			t.Fatalf("F10 disables nothing:\n%s", x.do("capture-pane", "-p", "-t", "0"))
		}
		x.do("send-keys", "-t", "0", "F10")
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && r.member("back", "a").Admin() == table.Ready && r.member("back", "b").Admin() == table.Ready; {
			time.Sleep(50 * time.Millisecond)
		}
		if r.member("back", "a").Admin() == table.Ready && r.member("back", "b").Admin() == table.Ready {
			x.do("send-keys", "-t", "0", "Down")
		}
	}
	which := "a"
	if r.member("back", "b").Admin() != table.Ready {
		which = "b"
	}
	x.press("", "maintenance", shows(which, "10", "MAINT"))
	x.press("F9", "up again", shows(which, "10", "UP", "L4OK"))
	if got := r.member("back", which).Admin(); got != table.Ready {
		t.Errorf("after F9 it is %s", got)
	}
	x.press("F8", "weight + 10", shows(which, "20", "UP"))
	x.press("F6", "weight - 1", shows(which, "19", "UP"))
	x.press("F4", "weight of the file", shows(which, "10", "UP"))
	if got := r.member("back", which).Weight(); got != 10 {
		t.Errorf("weight %d", got)
	}
	x.press("2", "traffic", func(s string) bool { return strings.Contains(s, "LBTOT") && shows("a", "10", "UP")(s) })
	x.press("4", "errors", func(s string) bool { return strings.Contains(s, "ECONN") && shows("a", "10", "UP")(s) })
	x.press("5", "command line", func(s string) bool { return strings.Contains(s, "embedded interactive HAProxy shell") })
	x.do("send-keys", "-t", "0", "-l", "get weight back/b")
	x.press("Enter", "an answer", func(s string) bool { return strings.Contains(s, "10 (initial 10)") })
	x.do("send-keys", "-t", "0", "-l", "disable server back/b; show servers state back")
	x.press("Enter", "a disabled server", func(s string) bool { return r.member("back", "b").Admin() == table.Maint })
}

// TestExporter: Prometheus' exporter reads the statistics.
func TestExporter(t *testing.T) {
	const exporter = "prometheus-haproxy-exporter"
	if _, err := os.Stat("/etc/fedora-release"); err == nil {
		t.Log("Fedora has no package of " + exporter)
		return
	}
	netns.Tools(t, exporter)
	_, p := withRuntime(t)
	if _, err := ask(p.LB.Frontends[0].Listen[0]); err != nil {
		t.Fatal(err)
	}
	listen := freeAddr(t, "127.0.0.1").String()
	cmd := exec.Command(exporter, "--haproxy.scrape-uri=unix:"+p.LB.StatsSocket, "--web.listen-address="+listen)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	var text string
	waitFor(t, "metrics", func() bool {
		resp, err := http.Get("http://" + listen + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		text = string(b)
		return strings.Contains(text, "haproxy_up 1")
	})
	for _, want := range []string{
		`haproxy_server_up{backend="back",server="a"} 1`,
		`haproxy_server_weight{backend="back",server="b"} 10`,
		`haproxy_backend_up{backend="back"} 1`,
		`haproxy_frontend_sessions_total{frontend="front"} 1`,
		`haproxy_frontend_bytes_out_total{frontend="front"} 1`,
		`haproxy_version_info{`,
		`haproxy_exporter_csv_parse_failures_total 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}
