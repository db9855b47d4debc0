package servicetest

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

	"helperd/internal/netns"
	"helperd/services"
)

// processEnv marks the test binary that is to be a service. Its value is where the state is kept; none: nowhere.
const (
	processEnv = "HELPERD_TEST_PROCESS"
	none       = "none"
)

// patience is how long a Process may take for anything.
const patience = 30 * time.Second

// A Verb answers a line of a Process' input, without its first word.
type Verb func(arg string) any

// Main is the TestMain of a package whose tests run the service in a process of its
// own, inside a network namespace: this test binary again. There it makes the service,
// and obeys the lines "check", "status", "events", "held", "fuse", and those of the verbs given.
func Main(m *testing.M, build func(services.Host) (services.Service, map[string]Verb)) {
	dir, marked := os.LookupEnv(processEnv)
	if !marked {
		os.Exit(m.Run())
	}
	if err := obey(dir, build); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// obey serves until the input ends.
func obey(dir string, build func(services.Host) (services.Service, map[string]Verb)) error {
	if dir == none {
		dir = ""
	}
	h, err := open(dir, os.Stderr)
	if err != nil {
		return err
	}
	s, verbs := build(h.Host)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := h.Guard.Loop(ctx, "serve", s.Serve)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "check":
			fmt.Println(s.Check(ctx))
		case "status":
			_ = json.NewEncoder(os.Stdout).Encode(s.Status())
		case "events":
			_ = json.NewEncoder(os.Stdout).Encode(h.Events.Since(0))
		case "held":
			runtime.GC()
			fds, _ := os.ReadDir("/proc/self/fd")
			fmt.Println(len(fds), runtime.NumGoroutine())
		case "fuse":
			h.Fuse.Arm()
			fmt.Println("ok")
		default:
			fmt.Println(verbs[verb](arg))
		}
	}
	cancel()
	<-ended
	h.Guard.Wait()
	return h.close()
}

// A Process is a service in a namespace. It ends with the test.
type Process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// StartProcess starts a service that serves nothing yet, by a wrapper such as setpriv if
// there is one. dir is where it keeps its state; empty: nowhere, and it knows no nodes.
func StartProcess(t *testing.T, ns *netns.NS, dir string, wrapper ...string) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if dir == "" {
		dir = none
	}
	args := append(wrapper, self)
	p := &Process{t: t, cmd: ns.Exec(args[0], args[1:]...)}
	p.cmd.Env = append(os.Environ(), processEnv+"="+dir)
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
	t.Cleanup(p.Kill)
	return p
}

// Do sends a line and gives the answer.
func (p *Process) Do(line string) string {
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

// Must sends a line whose answer has to be "ok".
func (p *Process) Must(line string) {
	p.t.Helper()
	if got := p.Do(line); got != "ok" {
		p.t.Fatalf("%s: %s", line, got)
	}
}

// Until repeats a question until the answer is as wanted.
func (p *Process) Until(line string, want func(string) bool) string {
	p.t.Helper()
	var got string
	Eventually(p.t, func() bool { got = p.Do(line); return want(got) }, func() string { return line + ": still " + got })
	return got
}

// Serving waits until the service answers its own check.
func (p *Process) Serving() {
	p.t.Helper()
	p.Until("check", func(s string) bool { return s == "<nil>" })
}

// Stop ends the service in good order.
func (p *Process) Stop() {
	p.t.Helper()
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the service ended with %v", err)
	}
}

// Kill ends it at once, as a power cut does.
func (p *Process) Kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// Contains is what Until waits for, as a rule.
func Contains(s string) func(string) bool {
	return func(got string) bool { return strings.Contains(got, s) }
}

// Eventually waits until ok holds; what says why it does not.
func Eventually(t *testing.T, ok func() bool, what func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what())
		}
	}
}
