package runtimeapi

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/internal/netns"
	"helperd/plan"
)

// haproxy starts the real one with the configuration of p and gives the path of its socket.
func haproxy(t *testing.T, p *plan.Plan) string {
	t.Helper()
	netns.Tools(t, "haproxy")
	dir := t.TempDir()
	socket := filepath.Join(dir, "h.sock")
	var b strings.Builder
	fmt.Fprintf(&b, "global\n stats socket %s level admin\n maxconn %d\n nbthread 2\n", socket, p.LB.MaxConnections)
	b.WriteString("defaults\n mode tcp\n timeout connect 2s\n timeout client 1m\n timeout server 1m\n")
	for _, f := range p.LB.Frontends {
		fmt.Fprintf(&b, "frontend %s\n default_backend %s\n", f.Name, f.Backend)
		for i := range f.Listen { // another socket than ours: they are not compared
			fmt.Fprintf(&b, " bind unix@%s/%s%d\n", dir, f.Name, i)
		}
		if f.MaxConnections > 0 {
			fmt.Fprintf(&b, " maxconn %d\n", f.MaxConnections)
		}
	}
	for _, g := range p.LB.Backends {
		fmt.Fprintf(&b, "backend %s\n balance %s\n timeout check %dms\n", g.Name, g.Balance, g.Check.Timeout.Milliseconds())
		if g.Check.Type == plan.CheckHTTP {
			b.WriteString(" option httpchk GET /\n")
		}
		for _, s := range g.Servers {
			fmt.Fprintf(&b, " server %s %s weight %d", s.Name, s.Address, s.Weight)
			if !s.NoCheck {
				fmt.Fprintf(&b, " check inter %dms rise %d fall %d", g.Check.Interval.Milliseconds(), g.Check.Rise, g.Check.Fall)
			}
			if s.Backup {
				b.WriteString(" backup")
			}
			if s.MaxConnections > 0 {
				fmt.Fprintf(&b, " maxconn %d", s.MaxConnections)
			}
			b.WriteByte('\n')
		}
	}
	conf := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(conf, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("haproxy", "-db", "-f", conf)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy: %s\n%s", out, b.String())
		}
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("haproxy does not answer: %s", out)
		}
	}
	return socket
}

// readStats reads CSV into rows by "proxy/service" and columns by name.
func readStats(t *testing.T, text string) (names []string, rows map[string]map[string]string, order []string) {
	t.Helper()
	text, ok := strings.CutPrefix(text, "# ")
	if !ok || !strings.HasSuffix(text, "\n\n") {
		t.Fatalf("no CSV: %.100q", text)
	}
	r := csv.NewReader(strings.NewReader(strings.TrimSuffix(text, "\n")))
	lines, err := r.ReadAll() // all lines have as many fields
	if err != nil {
		t.Fatal(err)
	}
	rows = map[string]map[string]string{}
	for _, line := range lines[1:] {
		m := map[string]string{}
		for i, n := range lines[0] {
			m[n] = line[i]
		}
		key := line[0] + "/" + line[1]
		rows[key], order = m, append(order, key)
	}
	return lines[0], rows, order
}

// settled waits until the checks of both have said all that they will say.
func settled(t *testing.T, r *rig, socket string) {
	t.Helper()
	want := map[string]string{"back/good": "L7OK", "back/red": "L7STS", "back/gone": "L4CON", "back/hang": "L7TOUT", "back/spare": "L7OK", "raw/r2": "L4OK"}
	r.eventually("both have checked all servers", func() bool {
		for _, path := range []string{r.path, socket} {
			_, rows, _ := readStats(t, ask(t, path, "show stat"))
			for key, st := range want {
				down := strings.HasPrefix(rows[key]["status"], "DOWN")
				ok := st == "L7OK" || st == "L4OK"
				if strings.TrimPrefix(rows[key]["check_status"], "* ") != st || down == ok || strings.Contains(rows[key]["status"], "/") {
					return false
				}
			}
		}
		return true
	})
}

// free columns are filled by both, with other values: times, texts, insides.
var free = map[string]bool{
	"lastchg": true, "downtime": true, "check_duration": true, "last_chk": true, "check_code": true, "chkfail": true, "chkdown": true,
	"need_conn_est": true, "h1_open_connections": true, "h1_open_streams": true, "h1_total_connections": true, "h1_total_streams": true, "h1_bytes_in": true, "h1_bytes_out": true,
}

// compare waits until the statistics of HAProxy and ours are the same, and says what differs when
// they are not: on a busy machine a check may time out.
func compare(t *testing.T, socket, path, command string) {
	t.Helper()
	var wrong []string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if wrong = differences(t, ask(t, socket, command), ask(t, path, command)); wrong == nil {
			return
		}
	}
	t.Errorf("%s:\n%s", command, strings.Join(wrong, "\n"))
}

func differences(t *testing.T, theirText, ourText string) (wrong []string) {
	t.Helper()
	theirs, them, order := readStats(t, theirText)
	ours, us, our := readStats(t, ourText)
	if diff := cmp.Diff(theirs, ours); diff != "" {
		return []string{"header: " + diff}
	}
	if diff := cmp.Diff(order, our); diff != "" {
		return []string{"rows: " + diff}
	}
	for key, row := range them {
		for name, want := range row {
			got := us[key][name]
			want = strings.TrimPrefix(want, "* ") // a check that runs
			if (want == "") != (got == "") && name != "last_chk" || want != got && !free[name] && !otherLimit(key, name) {
				wrong = append(wrong, fmt.Sprintf("%s of %s is %q, HAProxy has %q", name, key, got, want))
			}
		}
	}
	return wrong
}

// otherLimit reports whether HAProxy means another limit: a backend's fullconn, and the total for a
// frontend that has none of its own.
func otherLimit(key, name string) bool {
	return name == "slim" && (strings.HasSuffix(key, "/BACKEND") || key == "idle/FRONTEND")
}

// TestStatLikeHAProxy: the same servers under the same checks give the same statistics.
func TestStatLikeHAProxy(t *testing.T) {
	r := newRig(t)
	socket := haproxy(t, r.plan)
	settled(t, r, socket)
	for _, command := range []string{
		"show stat", "show stat up", "show stat no-maint", "show stat back 7 -1", "show stat 4 7 2", "show stat -1 4 -1", "show stat 5 2 -1", "show stat front 1 -1", "show stat 99 7 -1",
	} {
		compare(t, socket, r.path, command)
	}
	both := func(line string) {
		t.Helper()
		want := ask(t, socket, line)
		if got := r.ask(line); got != want {
			t.Errorf("%s: %q, HAProxy says %q", line, got, want)
		}
	}
	for _, tt := range []struct{ name, lines string }{
		{"maintenance", "disable server back/good;set server raw/r1 state maint"},
		{"hidden", "show version"},
		{"ready again", "enable server back/good;set server raw/r1 state ready"},
		{"drained", "set server raw/r1 state drain;set server back/gone state drain;set server raw/r2 state drain"},
		{"all ready", "set server raw/r1 state ready;set server back/gone state ready;set server raw/r2 state ready"},
		{"weights", "set weight back/good 5;set server back/spare weight 3;set weight raw/r1 0"},
		{"weights of the file", "set weight back/good 100%;set server back/spare weight 1;set weight raw/r1 100%"},
		{"half a weight", "set weight back/good 50%"},
		{"limits", "set maxconn server raw/r2 9;set maxconn frontend front 7"},
		{"limits of the file", "set maxconn server raw/r2 5;set maxconn frontend front 900"},
		{"unwatched", "disable health back/good"},
		{"watched", "enable health back/good"},
		{"paused", "disable frontend front"},
		{"resumed", "enable frontend front"},
		{"nothing left", "disable server back/good;disable server back/red;disable server back/gone;disable server back/hang;disable server back/spare"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for line := range strings.SplitSeq(tt.lines, ";") {
				if line != "show version" {
					both(line)
				}
			}
			if tt.name == "ready again" || tt.name == "all ready" {
				settled(t, r, socket)
			}
			compare(t, socket, r.path, "show stat")
			compare(t, socket, r.path, "show stat no-maint")
		})
	}
}

// TestTypedLikeHAProxy: number, name, origin, nature, scope and kind of every field.
func TestTypedLikeHAProxy(t *testing.T) {
	r := newRig(t)
	socket := haproxy(t, r.plan)
	settled(t, r, socket)
	fields := func(path, command string) []string {
		var out []string
		for line := range strings.Lines(ask(t, path, command)) {
			f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 4)
			if f[0] != "" && !strings.Contains(f[0], ".slim.") {
				out = append(out, strings.Join(f[:min(3, len(f))], ":"))
			}
		}
		return out
	}
	for _, command := range []string{"show stat typed", "show info typed", "show stat back 2 -1 typed"} {
		if diff := cmp.Diff(fields(socket, command), fields(r.path, command)); diff != "" {
			t.Errorf("%s: (-HAProxy +helperd)\n%s", command, diff)
		}
	}
	names := func(path string) (out []string) {
		for line := range strings.Lines(ask(t, path, "show info")) {
			name, _, _ := strings.Cut(line, ":")
			out = append(out, name)
		}
		return out
	}
	if diff := cmp.Diff(names(socket), names(r.path)); diff != "" {
		t.Errorf("show info: %s", diff)
	}
	for _, command := range []string{"show info json", "show stat json", "show stat 99 7 -1 json"} {
		theirs, ours := structure(t, ask(t, socket, command)), structure(t, ask(t, r.path, command))
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s: (-HAProxy +helperd)\n%s", command, diff)
		}
	}
}

// structure reads JSON and takes out the values.
func structure(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %.200s", err, text)
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				strip(e)
			}
		case map[string]any:
			if value, ok := v["value"].(map[string]any); ok {
				if _, text := value["value"].(string); text {
					value["value"] = "text"
				} else {
					value["value"] = 0
				}
			}
		}
	}
	strip(v)
	return v
}

// TestAnswersLikeHAProxy: the same words, errors included.
func TestAnswersLikeHAProxy(t *testing.T) {
	r := newRig(t)
	socket := haproxy(t, r.plan)
	settled(t, r, socket)
	for _, command := range []string{
		"get weight back/good", "get weight back/x", "get weight x/y", "get weight", "get weight back",
		"set weight back/good 300", "set weight back/good -1", "set weight back/good", "set weight back/good 7", "get weight back/good", "set weight back/good 1000%", "set weight back/good 100%",
		"disable server back/x", "disable server x", "disable server", "enable server x/y", "enable server back/good",
		"set server back/good state foo", "set server back/good state", "set server", "set server back/x state ready", "set server x/y state ready", "set server back/good weight 700",
		"set server back/good agent up", "disable agent back/good", "enable agent back/good", "enable health raw/r1", "disable health back/x", "disable health back/good", "enable health back/good",
		"set server back/good health foo", "set server back/good health up",
		"set maxconn frontend front -5", "set maxconn frontend front", "set maxconn frontend x 5", "set maxconn frontend front 5", "set maxconn frontend front 900",
		"set maxconn server raw/r2 7", "set maxconn server raw/r2 abc", "set maxconn server raw/r2", "set maxconn server raw/r2 5",
		"set maxconn global 500", "set maxconn global 5000", "set maxconn global", "set maxconn global 1000",
		"disable frontend front", "disable frontend front", "enable frontend front", "enable frontend front", "disable frontend x", "disable frontend",
		"shutdown session", "shutdown session 0x1", "shutdown sessions server back/good", "shutdown sessions server back/x", "shutdown sessions server",
		"clear counters", "clear counters all",
		"set timeout cli 20", "set timeout cli", "set timeout cli abc", "set timeout foo", "set severity-output foo", "set severity-output", "set severity-output number",
		"set severity-output number;get weight back/x", "set severity-output string;get weight back/x", "set severity-output number;get weight back/good",
		"set severity-output number;disable frontend front;disable frontend front;enable frontend front",
		"show table", "show events x", "show cli level", "show backend", "show stat nope 7 -1", "show servers state nope", "show servers conn nope", "show sess 0x123",
		"operator;disable server back/good", "set severity-output number;user;disable server back/good", "show  backend ; get  weight back/good", "show backend #x",
		`get weight back\/good`, "show backend\r",
	} {
		want := ask(t, socket, command)
		if got := r.ask(command); !sameLines(got, want) {
			t.Errorf("%s: %q, HAProxy says %q", command, got, want)
		}
	}
	for _, command := range []string{"show errors", "show servers state", "show servers state raw", "show servers conn", "show servers conn back"} {
		diff := "never asked"
		for end := time.Now().Add(15 * time.Second); diff != "" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			diff = cmp.Diff(shape(ask(t, socket, command)), shape(r.ask(command))) // again while a check runs
		}
		if diff != "" {
			t.Errorf("%s: (-HAProxy +helperd)\n%s", command, diff)
		}
	}
	for _, command := range []string{"foo", "show foo", "help show stat", "help"} {
		first := func(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }
		if want, got := first(ask(t, socket, command)), first(r.ask(command)); want != got {
			t.Errorf("%s: %q, HAProxy says %q", command, got, want)
		}
	}
}

// sameLines compares without regard to whether a message ends its last line.
func sameLines(a, b string) bool { return strings.TrimRight(a, "\n") == strings.TrimRight(b, "\n") }

var (
	clock      = regexp.MustCompile(`\[[^]]*:[^]]*\]`)
	serverLine = regexp.MustCompile(`^(\d+ \w+ \d+ \w+ [\d.]+ \d+ \d+ \d+ \d+) \d+ (.*)$`)
)

// shape takes out what time and the insides of each differ in.
func shape(s string) []string {
	var out []string
	for line := range strings.Lines(s) {
		line = serverLine.ReplaceAllString(clock.ReplaceAllString(strings.TrimSuffix(line, "\n"), "[time]"), "$1 age $2")
		if f := strings.Fields(line); len(f) > 8 && strings.Contains(f[0], "/") && f[0] != "#" { // of a server's connections
			line = strings.Join(append(f[:5], fmt.Sprint(len(f))), " ")
		}
		if f := strings.Fields(line); len(f) > 2 && f[3] == "r1" { // no check: its counters are of a check that is never made
			line = strings.Join(f[:10], " ")
		}
		out = append(out, line)
	}
	return out
}
