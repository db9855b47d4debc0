package rig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"helperd/api"
	"helperd/boot"
	"helperd/plan"
	"helperd/timeline"
)

// capabilities are all that helperd may do beyond any user: what its unit grants.
const capabilities = "-all,+net_bind_service,+net_raw"

// largestBuffer in bytes is the largest that a service asks for.
const largestBuffer = 4 << 20

// receiveLimit is the largest receive buffer in bytes that the kernel gives to
// a process without CAP_NET_ADMIN.
func receiveLimit(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	must(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	must(t, err)
	return n
}

// daemon is one run of the binary.
type daemon struct {
	cmd  *exec.Cmd
	exit chan error // gets the result of Wait, once
	log  *Output
}

// Output collects what a program says.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String is all that was said so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// binary gives the helperd to test, as bytes: HELPERD_BIN, or one that is
// built once a test process.
var binary = sync.OnceValues(func() ([]byte, error) {
	if path := os.Getenv("HELPERD_BIN"); path != "" {
		return os.ReadFile(path)
	}
	dir, err := os.MkdirTemp("", "helperd-bin-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "helperd")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "helperd/cmd/helperd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build helperd: %w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// Binary puts the helperd to test into a folder, once, and gives its path: the
// folder where it was built may be closed to the user that runs it.
func Binary(t testing.TB, dir string) string {
	t.Helper()
	program := filepath.Join(dir, "helperd")
	if _, err := os.Stat(program); err != nil {
		b, err := binary()
		must(t, err)
		must(t, os.WriteFile(program, b, 0o755))
	}
	return program
}

// blindfold puts an empty file ($1) over every other up to "--", and runs the
// rest. `ip netns exec` gives its command a mount namespace of its own, so
// nobody else sees it.
const blindfold = `empty=$1; shift; while [ "$1" != -- ]; do mount --bind "$empty" "$1" || exit; shift; done; shift; exec "$@"`

// hidden are the files of the loaders on this machine.
func hidden(t testing.TB, loaders []plan.Loader) []string {
	t.Helper()
	found := boot.FindLoaders()
	var out []string
	for _, l := range loaders {
		if found[l] != "" {
			out = append(out, found[l])
		}
	}
	return out
}

func (r *Rig) emptyFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(r.Dir, "empty")
	must(t, os.WriteFile(path, nil, 0o644))
	return path
}

// Start runs helperd in the helper's namespace as an unprivileged user and
// waits until it serves the file. When the test fails its log is shown.
func (r *Rig) Start(t testing.TB) {
	t.Helper()
	if r.daemon != nil {
		t.Fatal("helperd runs already")
	}
	program := Binary(t, r.Dir)
	id := strconv.Itoa(uid)
	d := &daemon{log: &Output{}, exit: make(chan error, 1)}
	args := []string{
		"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--no-new-privs", "--pdeathsig", "KILL",
		"--inh-caps", r.capabilities, "--ambient-caps", r.capabilities, "--bounding-set", r.capabilities,
		program, "run", "--config", r.Config, "--state", r.State, "--socket", r.Socket,
	}
	if len(r.hide) > 0 {
		args = slices.Concat([]string{"sh", "-c", blindfold, "sh", r.emptyFile(t)}, r.hide, []string{"--"}, args)
	}
	var env []string
	var kept []*os.File
	if r.Systemd != nil {
		env, kept = r.Systemd.start()
		args = slices.Concat([]string{"sh", "-c", asMain, "sh"}, args)
	}
	d.cmd = r.Helper.Exec(args[0], args[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.Dir = r.Dir
	d.cmd.ExtraFiles = kept
	d.cmd.Env = append(env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HELPERD_TEST_HOOKS="+os.Getenv("HELPERD_TEST_HOOKS"))
	must(t, d.cmd.Start())
	r.daemon = d
	r.guard.Go("wait for helperd", func() { d.exit <- d.cmd.Wait() })
	t.Cleanup(func() {
		if r.daemon == d {
			r.Stop(t)
		}
		if t.Failed() {
			t.Logf("helperd's log:\n%s", tail(d.log.String(), 200))
		}
	})
	r.awaitServing(t, d)
}

// asked reports whether it is known of all clusters whether they live: one whose
// control plane starts before that is not installed.
func (d *daemon) asked() bool {
	log := d.log.String()
	return strings.Count(log, "asking whether the cluster lives") == strings.Count(log, "asked whether the cluster lives")
}

func (r *Rig) awaitServing(t testing.TB, d *daemon) {
	t.Helper()
	var last string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-d.exit:
			r.daemon = nil
			t.Fatalf("helperd ended at its start: %v", err)
		default:
		}
		out, err := r.ctl("status", "-o", "json")
		var s api.Status
		if jsonErr := json.Unmarshal(out, &s); jsonErr == nil && s.Generation > 0 && s.Healthy() && d.asked() {
			return
		}
		last = string(out)
		if err != nil {
			last += "\n" + err.Error()
		}
	}
	t.Fatalf("helperd does not become healthy within 20 s; its last status:\n%s", last)
}

// Stop ends the daemon by SIGTERM, as systemd does. It must end cleanly within 15 s.
func (r *Rig) Stop(t testing.TB) {
	t.Helper()
	d := r.daemon
	if d == nil {
		return
	}
	r.daemon = nil
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-d.exit:
		if err != nil {
			t.Errorf("helperd ended by SIGTERM: %v, want exit code 0", err)
		}
	case <-time.After(15 * time.Second):
		_ = d.cmd.Process.Kill()
		t.Errorf("helperd did not end within 15 s of SIGTERM")
		<-d.exit
	}
}

// PID of the running daemon.
func (r *Rig) PID() int { return r.daemon.cmd.Process.Pid }

// Log is what the running daemon has written.
func (r *Rig) Log() string { return r.daemon.log.String() }

// ctl runs a command of the binary against the daemon's socket.
func (r *Rig) ctl(args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(r.Dir, "helperd"), append(args, "--socket", r.Socket)...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if err != nil && stderr.Len() > 0 {
		err = errors.New(strings.TrimSpace(stderr.String()))
	}
	return out.Bytes(), err
}

// Order runs a command of the binary that changes something, such as "nodes", "reinstall", "worker-0".
func (r *Rig) Order(t testing.TB, args ...string) {
	t.Helper()
	if out, err := r.ctl(args...); err != nil {
		t.Fatalf("helperd %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Status is `helperd status -o json`. A degraded daemon has one, too.
func (r *Rig) Status(t testing.TB) api.Status {
	t.Helper()
	var s api.Status
	r.query(t, &s, "status")
	return s
}

// Events is `helperd events -o json`, oldest first.
func (r *Rig) Events(t testing.TB) []timeline.Event {
	t.Helper()
	var e []timeline.Event
	r.query(t, &e, "events")
	return e
}

// Leases is `helperd leases -o json`.
func (r *Rig) Leases(t testing.TB) []api.Lease {
	t.Helper()
	var l []api.Lease
	r.query(t, &l, "leases")
	return l
}

// Apply changes the configuration file as an editor does and waits until the
// daemon serves it. Many nodes that vanish at once make it wait for 5 s longer.
func (r *Rig) Apply(t testing.TB, edit func(text string) string) api.Status {
	t.Helper()
	before := r.Status(t).Generation
	r.Rewrite(t, edit)
	var s api.Status
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s = r.Status(t); s.Generation > before && s.Configuration.State == api.Applied {
			return s
		}
	}
	t.Fatalf("the changed file is not served within 20 s: %+v", s.Configuration)
	return s
}

func (r *Rig) query(t testing.TB, v any, args ...string) {
	t.Helper()
	out, err := r.ctl(append(args, "-o", "json")...)
	if jsonErr := json.Unmarshal(out, v); jsonErr != nil {
		t.Fatalf("helperd %s -o json: %v: %v\n%s", args[0], err, jsonErr, out)
	}
}

// AwaitEvent waits until an event satisfies match, and gives it.
func (r *Rig) AwaitEvent(t testing.TB, what string, patience time.Duration, match func(*timeline.Event) bool) timeline.Event {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		for _, e := range r.Events(t) {
			if match(&e) {
				return e
			}
		}
		if time.Now().After(end) {
			t.Fatalf("no event within %v: %s", patience, what)
		}
	}
}

// tail is the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
