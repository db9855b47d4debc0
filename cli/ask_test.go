package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"helperd/api"
	"helperd/config"
	"helperd/services/lb"
	"helperd/timeline"
)

// TestJSON is about scripts: -o json is what the daemon said, and -o yaml has the same keys and values.
func TestJSON(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "s")
	d := healthy()
	if _, err := serve(t, d, sock); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		command   string
		got, want any
	}{
		{"status", new(api.Status), &d.status},
		{"nodes", new([]api.Node), &d.nodes},
		{"leases", new([]api.Lease), &d.leases},
		{"lb", new(lb.Overview), &d.balance},
		{"events", new([]timeline.Event), ptr(d.events.Since(0))},
	} {
		t.Run(c.command, func(t *testing.T) {
			asJSON, stderr, code := run(t, c.command, "--socket", sock, "-o", "json")
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %q", code, stderr)
			}
			if err := json.Unmarshal([]byte(asJSON), c.got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(normal(t, c.want), normal(t, c.got)); diff != "" {
				t.Errorf("what the daemon has, and what is printed:\n%s", diff)
			}
			asYAML, stderr, code := run(t, c.command, "--socket", sock, "-o", "yaml")
			if code != 0 || stderr != "" {
				t.Fatalf("yaml: exit code %d, stderr %q", code, stderr)
			}
			var v any
			if err := yaml.Unmarshal([]byte(asYAML), &v); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(normal(t, c.got), normal(t, v)); diff != "" {
				t.Errorf("JSON and YAML:\n%s", diff)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// normal gives v as JSON has it.
func normal(t *testing.T, v any) (out any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPlanRunning(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "s")
	d := healthy()
	if _, err := serve(t, d, sock); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := run(t, "plan", "--running", "--socket", sock); code != 0 || stdout != d.PlanText() || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestSchema(t *testing.T) {
	stdout, stderr, code := run(t, "schema")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	var schema struct {
		Schema     string         `json:"$schema"`
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal([]byte(stdout), &schema); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(schema.Schema, "json-schema.org") || schema.Properties["clusters"] == nil {
		t.Errorf("schema %q with properties %v", schema.Schema, schema.Properties)
	}
	if stdout != string(config.Schema()) {
		t.Error("it is not the schema of config")
	}
}

// A follower is a command that goes on, such as `helperd events -f`, in a process of its own.
type follower struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr bytes.Buffer
}

func follow(t *testing.T, args ...string) *follower {
	t.Helper()
	f := &follower{cmd: exec.CommandContext(t.Context(), "helperd", args...)}
	f.cmd.Env = append(os.Environ(), "TZ=UTC")
	f.cmd.Stderr = &f.stderr
	out, err := f.cmd.StdoutPipe()
	if err == nil {
		err = f.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	f.lines = bufio.NewScanner(out)
	return f
}

func (f *follower) next(t *testing.T) string {
	t.Helper()
	if !f.lines.Scan() {
		t.Fatalf("it ended: %v, stderr %q", f.lines.Err(), f.stderr.String())
	}
	return f.lines.Text()
}

// end waits for the process and gives what it still printed and its exit code.
func (f *follower) end(t *testing.T) (rest string, code int) {
	t.Helper()
	for f.lines.Scan() {
		rest += f.lines.Text() + "\n"
	}
	_ = f.cmd.Wait() // the exit code says it
	return rest, f.cmd.ProcessState.ExitCode()
}

func TestFollow(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "s")
	d := healthy()
	if _, err := serve(t, d, sock); err != nil {
		t.Fatal(err)
	}
	f := follow(t, "events", "-f", "--socket", sock)
	for range d.events.Since(0) {
		f.next(t)
	}
	d.events.Emit(timeline.Event{Kind: timeline.HTTPGet, Addr: netip.MustParseAddr("192.168.67.78"), File: "/x", Bytes: 10, Total: 10})
	if got, want := f.next(t), "Mar  4 05:06:19.000   192.168.67.78                     http.get          /x  10 B"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := f.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if rest, code := f.end(t); code != 0 || rest != "" || f.stderr.Len() > 0 {
		t.Errorf("after SIGINT: exit code %d, stdout %q, stderr %q", code, rest, f.stderr.String())
	}
}

func TestWatchBalancer(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "s")
	srv, err := serve(t, healthy(), sock)
	if err != nil {
		t.Fatal(err)
	}
	begin := func() *follower {
		f := follow(t, "lb", "--watch", "--socket", sock)
		for pictures := 0; pictures < 2; {
			if strings.HasPrefix(f.next(t), "FRONTEND ") {
				pictures++
			}
		}
		return f
	}
	f := begin()
	if err := f.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, code := f.end(t); code != 0 || f.stderr.Len() > 0 {
		t.Errorf("after SIGINT: exit code %d, stderr %q", code, f.stderr.String())
	}
	f = begin()
	_ = srv.Close()
	if _, code := f.end(t); code != 4 {
		t.Errorf("after the end of the daemon: exit code %d, want 4", code)
	}
	if _, stderr, code := run(t, "lb", "--watch", "-o", "json"); code != 2 || !strings.Contains(stderr, "--watch is for people") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func TestFollowOneNodeForScripts(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "s")
	d := healthy()
	srv, err := serve(t, d, sock)
	if err != nil {
		t.Fatal(err)
	}
	asJSON := follow(t, "events", "-f", "--socket", sock, "--node", "bootstrap", "-o", "json")
	asYAML := follow(t, "events", "-f", "--socket", sock, "--node", "bootstrap", "-o", "yaml")
	var printed []timeline.Event
	for range 3 {
		var e timeline.Event
		if err := json.Unmarshal([]byte(asJSON.next(t)), &e); err != nil {
			t.Fatal(err)
		}
		printed = append(printed, e)
	}
	var want []timeline.Event
	for _, e := range d.events.Since(0) {
		if e.Node == "bootstrap.ocp4.example.com" {
			want = append(want, e)
		}
	}
	if diff := cmp.Diff(normal(t, want), normal(t, printed)); diff != "" {
		t.Error(diff)
	}
	text := ""
	for strings.Count(text, "total:") < 2 {
		text += asYAML.next(t) + "\n"
	}
	var list any
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(normal(t, want), normal(t, list)); diff != "" {
		t.Errorf("YAML: %s", diff)
	}

	// The daemon goes: that is no interrupt.
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*follower{asJSON, asYAML} {
		rest, code := f.end(t)
		if code != 4 || rest != "" || !strings.HasPrefix(f.stderr.String(), "the daemon has ended") {
			t.Errorf("the daemon went: exit code %d, stdout %q, stderr %q", code, rest, f.stderr.String())
		}
	}
}

// What reads our output may end before us, as head does; that is no trace on the terminal.
func TestClosedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "helperd", "schema")
	var stderr bytes.Buffer
	c.Stdout, c.Stderr = w, &stderr
	_ = r.Close()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	_ = c.Wait() // it is ended by SIGPIPE
	if b, _ := io.ReadAll(&stderr); len(b) > 0 {
		t.Errorf("stderr %q", b)
	}
}
