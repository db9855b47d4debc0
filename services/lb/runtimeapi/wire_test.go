package runtimeapi

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/services/lb/engine"
	"helperd/services/lb/stats"
)

// TestPrompt: what hatop says first, and that the connection stays.
func TestPrompt(t *testing.T) {
	r := newRig(t)
	c := dial(t, r.path)
	in := bufio.NewReader(c)
	for _, tt := range []struct{ line, want string }{
		{"prompt", "\n> "},
		{"set timeout cli 60", "\n> "},
		{"show version", version + "\n\n> "},
		{"show version;get weight back/good", version + "\n\n> 10 (initial 10)\n\n> "},
		{"get weight back/x", "No such server.\n\n> "},
		{"set severity-output number", "\n> "},
		{"@1 get weight back/x", "[3]: No such server.\n\n> "},
		{"set ssl cert x <<\nshow version\nshow version\n", "[3]: 'set ssl' " + inTheFile + "\n\n> "},
		{"show cli level", "[6]: admin\n\n> "},
	} {
		fmt.Fprintf(c, "%s\n", tt.line)
		got := make([]byte, len(tt.want))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != tt.want {
			t.Fatalf("%s: %q, %v, want %q", tt.line, got, err, tt.want)
		}
	}
	fmt.Fprint(c, "quit\n")
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("after quit: %q, %v", rest, err)
	}
}

// TestOneShot: one line is answered, and what comes behind it does not cost the answer.
func TestOneShot(t *testing.T) {
	r := newRig(t)
	for name, sent := range map[string]string{
		"one line":      "show version\n",
		"two lines":     "show version\nshow version\n",
		"much behind":   "show version\n" + strings.Repeat("x", 500<<10),
		"carriage":      "show version\r\n",
		"two commands":  "show version;quit;show version\n",
		"blanks":        "  show \t version  \n",
		"a word behind": "show version please\n",
	} {
		c := dial(t, r.path)
		_, _ = io.WriteString(c, sent)
		got, err := io.ReadAll(c)
		if want := version + "\n\n"; string(got) != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	c := dial(t, r.path)
	_, _ = io.WriteString(c, "set weight back/good 1") // of 10, perhaps
	_ = c.CloseWrite()
	if got, _ := io.ReadAll(c); len(got) > 0 || r.member(t, "back", "good").Weight() != 10 {
		t.Errorf("half a line is a command: %q", got)
	}
	c = dial(t, r.path)
	_, _ = io.WriteString(c, strings.Repeat("show info;", 5000)+"\n")
	if got, _ := io.ReadAll(c); !strings.HasPrefix(string(got), "The line is longer than") {
		t.Errorf("a long line: %.100q", got)
	}
}

func TestSplit(t *testing.T) {
	for line, want := range map[string][][]string{
		"":                          {nil},
		"show info":                 {{"show", "info"}},
		"a;b c":                     {{"a"}, {"b", "c"}},
		"a;;b":                      {{"a"}, nil, {"b"}},
		"a;":                        {{"a"}},
		" a ; ":                     {{"a"}},
		`a\ b c\;d \\`:              {{"a b", "c;d", `\`}},
		`a\`:                        {{`a\`}},
		"set severity-output x;y z": {{"set", "severity-output", "x"}, {"y", "z"}},
	} {
		if diff := cmp.Diff(want, split(line)); diff != "" {
			t.Errorf("%q: %s", line, diff)
		}
	}
}

// TestOfTheFile: what contradicts the file is an error that says where to do it.
func TestOfTheFile(t *testing.T) {
	r := newRig(t)
	for _, line := range []string{
		"add server back/x 127.0.0.1:1", "del server back/good", "set server back/good addr 127.0.0.9 port 1", "set server back/good check-port 99", "set server back/good ssl on",
		"show map", "add acl x y", "show ssl cert", "set rate-limit connections global 3", "shutdown frontend front", "set table x key y",
	} {
		got := r.ask("set severity-output number;" + line)
		if !strings.HasPrefix(got, "\n[3]: '") || !strings.HasSuffix(got, inTheFile+"\n\n") {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestSessions(t *testing.T) {
	r := newRig(t)
	at := netip.MustParseAddrPort
	r.sessions = []engine.Session{
		{ID: 0x1f, Client: at("192.0.2.7:4711"), Local: at("192.0.2.1:6443"), Frontend: "front", Backend: "back", Server: "good", ServerAddr: at("192.0.2.9:6443"), Phase: "open", Age: 75 * time.Second, Idle: 2 * time.Second, In: 12, Out: 34},
		{ID: 0x20, Client: at("[2001:db8::7]:4711"), Local: at("[2001:db8::1]:443"), Frontend: "idle", Phase: "waiting", Age: 26 * time.Hour},
	}
	lines := strings.Split(r.ask("show sess"), "\n")
	if len(lines) != 4 {
		t.Fatalf("%q", lines)
	}
	for i, want := range []string{
		"0x1f: proto=tcpv4 src=192.0.2.7:4711 fe=front be=back srv=good ts=00 epoch=0x0 age=1m15s calls=",
		"0x20: proto=tcpv6 src=[2001:db8::7]:4711 fe=idle be=<NONE> srv=<none> ts=00 epoch=0x0 age=1d2h calls=",
	} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("%q, want %q", lines[i], want)
		}
	}
	one, both := r.ask("show sess 0x1f"), r.ask("show sess all")
	if !strings.Contains(one, "server=good addr=192.0.2.9:6443\n") || !strings.Contains(one, "frontend=front (id=2 mode=tcp)") || strings.Contains(one, "0x20") {
		t.Errorf("%s", one)
	}
	if !strings.HasPrefix(both, one[:5]) || !strings.Contains(both, "\n0x20: ") || !strings.Contains(both, "backend=<NONE>") {
		t.Errorf("%s", both)
	}
	if got := r.ask("shutdown session 0x1f") + r.ask("shutdown session 32") + r.ask("shutdown sessions server back/red"); got != "\n\n\n" {
		t.Errorf("%q", got)
	}
	if diff := cmp.Diff([]string{"31", "32", "red"}, r.cut); diff != "" {
		t.Error(diff)
	}
}

// TestClearCounters: they begin at 0 for those who ask here, and count on for all others.
func TestClearCounters(t *testing.T) {
	r := newRig(t)
	good, f := r.member(t, "back", "good"), r.Current().Frontends[0]
	for range 5 {
		good.Enter()
		good.Begun(time.Now().Unix())
		f.Counters.Begun(time.Now().Unix())
	}
	good.Leave()
	good.BytesIn.Add(100)
	column := func(row, name string) string {
		_, rows, _ := readStats(t, r.ask("show stat"))
		return rows[row][name]
	}
	if got := column("back/good", "stot") + column("back/good", "smax") + column("back/good", "bin") + column("front/FRONTEND", "stot"); got != "551005" {
		t.Fatal(got)
	}
	r.ask("clear counters")
	if got := column("back/good", "stot") + column("back/good", "smax"); got != "54" {
		t.Errorf("after clear counters: %s", got)
	}
	r.ask("clear counters all")
	if got := column("back/good", "stot") + column("back/good", "bin") + column("front/FRONTEND", "stot") + column("front/FRONTEND", "conn_tot"); got != "0000" {
		t.Errorf("after clear counters all: %s", got)
	}
	good.Begun(time.Now().Unix())
	if got := column("back/good", "stot"); got != "1" || good.Total.Load() != 6 {
		t.Errorf("one more: %s, and %d for others", got, good.Total.Load())
	}
	r.ask("clear counters all")
	if got := column("back/good", "stot"); got != "0" {
		t.Errorf("cleared again: %s", got)
	}
}

func FuzzExecute(f *testing.F) {
	for _, s := range []string{"show stat back 7 -1 typed", "set weight back/good 5%", "set severity-output number;foo", "@1 prompt", `a\;b;;c\`, "set timeout cli 1h", "show sess 0x1"} {
		f.Add(s)
	}
	r := &rig{fake: &fake{paused: map[string]bool{}}}
	r.fake.table = fuzzTable(f)
	server := New(r, &stats.Collector{Paused: r.Paused}, nil)
	f.Fuzz(func(t *testing.T, line string) {
		var b strings.Builder
		c := &client{server: server, level: "admin", severity: "none", out: bufio.NewWriter(&b)}
		c.answer(line)
		_ = c.out.Flush()
		if got := b.String(); !c.done && !strings.HasSuffix(got, "\n") && !strings.HasSuffix(got, "\n> ") {
			t.Errorf("%q ends with %q", line, got)
		}
	})
}
