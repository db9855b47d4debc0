package runtimeapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/services/lb/table"
)

func TestSocket(t *testing.T) {
	r := newRig(t)
	st, err := os.Lstat(r.path)
	if err != nil || st.Mode() != os.ModeSocket|0o660 {
		t.Fatalf("%v, %v", st.Mode(), err)
	}
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	old, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false) // as after a crash
	old.Close()
	precious := filepath.Join(dir, "helper.yaml")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(dir, "held")
	other, err := net.Listen("unix", held)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for path, want := range map[string]string{
		filepath.Join(dir, "none", "sock"): "the folder " + filepath.Join(dir, "none") + " is not there; make it",
		filepath.Join(precious, "sock"):    "",
		precious:                           "is there and is no socket; move it away",
		held:                               "another process answers on",
		filepath.Join(dir, strings.Repeat("x", 100)): "is longer than the 103 bytes",
		dir: "is there and is no socket",
		filepath.Join(dir, "helper.yaml", "x", "sock"): "",
	} {
		c, err := r.server.Prepare(path)
		if err == nil {
			c.Discard()
			t.Errorf("%s is accepted", path)
		} else if !strings.HasPrefix(err.Error(), "lb.stats_socket: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if b, _ := os.ReadFile(precious); string(b) != "x" {
		t.Error("a file that is no socket was touched")
	}
	if got := r.ask("show version"); got != version+"\n\n" {
		t.Errorf("after all those errors: %q", got)
	}
	if err := os.WriteFile(stale+newSuffix, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.server.Prepare(stale); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file where the socket is made: %v", err)
	}
	if err := os.Remove(stale + newSuffix); err != nil {
		t.Errorf("the file of somebody else: %v", err)
	}
	c, err := r.server.Prepare(stale)
	if err != nil {
		t.Fatalf("a socket that nobody answers on: %v", err)
	}
	c.Discard()
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestReload: the same path is not touched, another one takes over, and clients go on.
func TestReload(t *testing.T) {
	r := newRig(t)
	first, _ := os.Lstat(r.path)
	c := dial(t, r.path)
	in := bufio.NewReader(c)
	say := func(line string) string {
		t.Helper()
		fmt.Fprintf(c, "%s\n", line)
		got, err := in.ReadString('>')
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		_, _ = in.Discard(1)
		return got
	}
	say("prompt")
	r.move(r.path)
	if now, _ := os.Lstat(r.path); !os.SameFile(first, now) {
		t.Error("the socket was made anew")
	}
	next := filepath.Join(t.TempDir(), "next.sock")
	r.move(next)
	if _, err := os.Lstat(r.path); err == nil {
		t.Error("the old socket is left")
	}
	if got := say("show version"); got != version+"\n\n>" {
		t.Errorf("a client of the socket before: %q", got)
	}
	if got := ask(t, next, "show cli sockets"); got != "# socket lvl processes\nunix@"+next+" admin all\n\n" {
		t.Errorf("%q", got)
	}
	if err := os.Remove(next); err != nil { // by somebody who cleans up
		t.Fatal(err)
	}
	r.move(next)
	if got := ask(t, next, "show version"); got != version+"\n\n" {
		t.Errorf("a socket that was removed: %q", got)
	}
	c2, err := r.server.Prepare(filepath.Join(filepath.Dir(next), "unused.sock"))
	if err != nil {
		t.Fatal(err)
	}
	c2.Discard()
	r.move("")
	if _, err := os.Lstat(next); err == nil {
		t.Error("the socket is left although the file has none")
	}
}

// TestStableNumbers: a name keeps its number when the file changes, and no other gets it.
func TestStableNumbers(t *testing.T) {
	r := newRig(t)
	numbers := func() map[string]string {
		_, rows, _ := readStats(t, r.ask("show stat"))
		m := map[string]string{}
		for key, row := range rows {
			m[key] = row["iid"] + "." + row["sid"]
		}
		return m
	}
	before := numbers()
	b := r.plan.LB.Backends
	b[0].Servers = append([]plan.Server{{Name: "newcomer", Address: r.ends.good, Weight: 1}}, b[0].Servers[2:]...)
	r.plan.LB.Backends = append([]plan.Backend{{Name: "first", Balance: plan.RoundRobin}}, b[:2]...)
	tab, err := table.Build(r.Current(), r.plan)
	if err != nil {
		t.Fatal(err)
	}
	tab.Install(time.Now())
	r.mu.Lock()
	r.fake.table = tab
	r.mu.Unlock()
	after := numbers()
	for key, n := range after {
		if was, ok := before[key]; ok && was != n {
			t.Errorf("%s was %s and is %s", key, was, n)
		}
		for other, was := range before {
			if other != key && was == n {
				t.Errorf("%s has the number of %s", key, other)
			}
		}
	}
	if len(after) != 2+1+5+2+1 || after["back/newcomer"] != "4.6" {
		t.Errorf("%v", after)
	}
}

// TestSlowReader: one that reads nothing keeps nobody from anything.
func TestSlowReader(t *testing.T) {
	r := newRig(t)
	for range maxClients - 1 {
		c := dial(t, r.path)
		if _, err := io.WriteString(c, strings.Repeat("show stat typed;", 100)+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	for range 5 {
		if got := r.ask("show version"); got != version+"\n\n" {
			t.Errorf("%q", got)
		}
	}
	if d := time.Since(begin); d > idleTime {
		t.Errorf("beside clients that read nothing it took %s", d)
	}
}

// TestIdle: the place of a client that says nothing is free after its time.
func TestIdle(t *testing.T) {
	r := newRig(t)
	c := dial(t, r.path)
	begin := time.Now()
	fmt.Fprint(c, "prompt;set timeout cli 1\n")
	if got, err := io.ReadAll(c); err != nil || string(got) != "\n> \n> " || time.Since(begin) < 900*time.Millisecond {
		t.Errorf("%q, %v after %s", got, err, time.Since(begin))
	}
}
