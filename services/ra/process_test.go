package ra

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"helperd/config"
	"helperd/internal/guard"
	"helperd/internal/netns"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

// The service under test runs in a process of its own, inside a network
// namespace: this test binary again, with a mark in the environment.
const processEnv = "HELPERD_RA_TEST_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(processEnv) == "" {
		os.Exit(m.Run())
	}
	if err := serveProcess(); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// file is a configuration whose IPv6 networks are these, in YAML's flow style.
func file(networks ...string) string {
	return `{version: 1, helper: {address: 192.168.7.2, address6: "fd00:7::2"}, networks: [{cidr: 192.168.7.0/24, gateway: 192.168.7.1}, ` + strings.Join(networks, ", ") + `]}`
}

// serveProcess obeys the lines of its input: "plan YAML", "check", "status", "events", "held", "export", "fuse".
func serveProcess() error {
	events := timeline.New(time.Now)
	panics := 0
	h := services.Host{
		Log: discard, Fuse: &guard.Fuse{}, Events: events, Metrics: prometheus.NewRegistry(),
		Guard: guard.New(func(name string, v any, _ []byte) { panics++; fmt.Fprintln(os.Stderr, "panic:", name, v) }),
	}
	s := New(h)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := h.Guard.Loop(ctx, "serve", s.Serve)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "plan":
			fmt.Println(apply(s, arg))
		case "check":
			fmt.Println(s.Check(ctx))
		case "status":
			_ = json.NewEncoder(os.Stdout).Encode(s.Status())
		case "events":
			_ = json.NewEncoder(os.Stdout).Encode(events.Since(0))
		case "held":
			runtime.GC()
			fds, _ := os.ReadDir("/proc/self/fd")
			fmt.Println(len(fds), runtime.NumGoroutine())
		case "export":
			fds, err := s.Export(io.Discard)
			fmt.Println(fds, err)
		case "fuse":
			h.Fuse.Arm()
			fmt.Println("ok")
		}
	}
	cancel()
	<-ended
	h.Guard.Wait()
	return nil
}

// apply serves a configuration and gives "ok" or what is wrong with it.
func apply(s *Service, yaml string) any {
	c, ds := config.Load([]byte(yaml))
	if ds.HasErrors() {
		return strings.ReplaceAll(ds.Error(), "\n", "; ")
	}
	p, ds := plan.Compile(c, plan.Facts{Serial: 1})
	if ds.HasErrors() {
		return strings.ReplaceAll(ds.Error(), "\n", "; ")
	}
	change, err := s.Prepare(context.Background(), p)
	if err != nil {
		return err
	}
	change.Commit()
	return "ok"
}

// process is a service in a namespace.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startProcess starts the service, by a wrapper such as setpriv if there is one, and serves a configuration.
func startProcess(t *testing.T, ns *netns.NS, yaml string, wrapper ...string) *process {
	t.Helper()
	p := newProcess(t, ns, wrapper...)
	if got := p.do("plan " + yaml); got != "ok" {
		t.Fatalf("plan: %s", got)
	}
	return p
}

func newProcess(t *testing.T, ns *netns.NS, wrapper ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrapper, self)
	p := &process{t: t, cmd: ns.Exec(args[0], args[1:]...)}
	p.cmd.Env = append(os.Environ(), processEnv+"=1")
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// do sends a line and gives the answer.
func (p *process) do(line string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	got, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(got)
}

// until repeats a question until the answer is as wanted.
func (p *process) until(line string, want func(string) bool) string {
	p.t.Helper()
	var got string
	eventually(p.t, func() bool { got = p.do(line); return want(got) }, func() string { return line + ": still " + got })
	return got
}

// stop ends the service in good order.
func (p *process) stop() {
	p.t.Helper()
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the service ended with %v", err)
	}
}

func contains(s string) func(string) bool {
	return func(got string) bool { return strings.Contains(got, s) }
}

// eventually waits until ok holds; what says why it does not.
func eventually(t *testing.T, ok func() bool, what func() string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatal(what())
		}
	}
}
