package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/api"
	"helperd/internal/guard"
)

// runs is a daemon as Run starts it, with one fake service.
type runs struct {
	*Daemon
	one  *fake
	hup  chan os.Signal
	done chan error
	stop context.CancelFunc
}

func run(t *testing.T, dir, text string, set func(*runs)) *runs {
	t.Helper()
	r := &runs{one: &fake{name: "one"}, hup: make(chan os.Signal), done: make(chan error, 1)}
	path := filepath.Join(dir, "helper.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	r.Daemon, err = newDaemon(Options{
		ConfigPath: path, StateDir: filepath.Join(dir, "state"), SocketPath: filepath.Join(dir, "run", "sock"),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), HUP: r.hup,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.services = []*service{{Service: r.one, fuse: &guard.Fuse{}, group: guard.New(nil)}}
	if set != nil {
		set(r)
	}
	admin, err := r.listenAdmin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { r.done <- r.serve(ctx, admin) }()
	r.stop = cancel
	t.Cleanup(func() {
		cancel()
		r.guard.Wait()
		r.close()
	})
	return r
}

func (r *runs) await(t *testing.T, s api.FileState) {
	t.Helper()
	for range 400 {
		if r.view().status.State == s {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("file %s, want %s", r.view().status.State, s)
}

func TestRunAndStop(t *testing.T) {
	r := run(t, t.TempDir(), six, nil)
	r.await(t, api.Applied)
	st, err := os.Stat(r.opt.SocketPath)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o660 {
		t.Errorf("admin socket has mode %s", st.Mode())
	}
	c := api.NewClient(r.opt.SocketPath)
	s, err := c.Status(t.Context())
	if err != nil || s.Generation != 1 || !s.Healthy() || len(s.Services) != 1 {
		t.Errorf("status %+v, %v", s, err)
	}
	if rows, err := c.Nodes(t.Context()); err != nil || len(rows) != 5 {
		t.Errorf("%d nodes, %v", len(rows), err)
	}
	if err := c.Reinstall(t.Context(), "worker-9"); err == nil || !strings.Contains(err.Error(), "`helperd nodes` lists them") {
		t.Errorf("reinstall of an unknown node: %v", err)
	}
	if err := c.Reinstall(t.Context(), "worker-1"); err != nil {
		t.Error(err)
	}
	if until, err := c.Arm(t.Context(), "worker-1"); err != nil || time.Until(until) < 50*time.Minute {
		t.Errorf("armed until %v: %v", until, err)
	}
	if _, err := c.Arm(t.Context(), "worker-9"); err == nil || !strings.Contains(err.Error(), "`helperd nodes` lists them") {
		t.Errorf("arming an unknown node: %v", err)
	}
	if _, err := c.ISOURL(t.Context(), "worker-9"); err == nil || !strings.Contains(err.Error(), "`helperd nodes` lists them") {
		t.Errorf("ISO of an unknown node: %v", err)
	}
	if _, _, err := c.ISO(t.Context(), "worker-1"); err == nil || !strings.Contains(err.Error(), "name artifacts at its cluster") {
		t.Errorf("ISO of a node that boots nothing: %v", err)
	}
	if err := c.Panic(t.Context(), "one"); err == nil {
		t.Error("a test hook without --test-hooks")
	}
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("stopped with %v", err)
		}
	case <-time.After(drainFor / 2):
		t.Error("it does not stop although nothing is open")
	}
	if _, err := os.Stat(r.opt.SocketPath); err == nil {
		t.Error("the admin socket is left")
	}
}

// A service that does not end must not keep the daemon from ending.
func TestStopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	r := run(t, t.TempDir(), six, func(r *runs) {
		r.services[0].group.Go("stuck", func() { <-stuck })
	})
	r.await(t, api.Applied)
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("stopped with %v", err)
		}
	case <-time.After(drainFor + 3*time.Second):
		t.Error("it does not stop")
	}
	close(stuck)
}

func TestAdminSocket(t *testing.T) {
	dir := t.TempDir()
	old, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false) // as after a crash
	_ = old.Close()
	d := &Daemon{opt: Options{SocketPath: filepath.Join(dir, "sock")}, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	first, err := d.listenAdmin()
	if err != nil {
		t.Fatalf("with the socket of a daemon that crashed: %v", err)
	}
	defer func() { _ = first.listener.Close() }()
	if _, err := d.listenAdmin(); err == nil || !strings.Contains(err.Error(), "another helperd answers") {
		t.Errorf("a second daemon: %v", err)
	}
	precious := filepath.Join(dir, "helper.yaml")
	if err := os.WriteFile(precious, []byte(six), 0o600); err != nil {
		t.Fatal(err)
	}
	d.opt.SocketPath = precious
	if _, err := d.listenAdmin(); err == nil || !strings.Contains(err.Error(), "--socket") {
		t.Errorf("on a file: %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error("a file that is no socket was removed")
	}
}

// systemdListener is what systemd is to a service.
func systemdListener(t *testing.T) <-chan string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1000)
	go func() {
		defer close(said)
		for b := make([]byte, 4096); ; {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return said
}

// until gives what is said up to the first message that begins with prefix.
func until(t *testing.T, said <-chan string, prefix string) []string {
	t.Helper()
	var all []string
	for late := time.After(5 * time.Second); ; {
		select {
		case s := <-said:
			if all = append(all, s); strings.HasPrefix(s, prefix) {
				return all
			}
		case <-late:
			t.Fatalf("%s did not come, only %q", prefix, all)
		}
	}
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano() / 1000
}

// What Type=notify-reload asks for (systemd.service(5), sd_notify(3)).
func TestSystemdIsTold(t *testing.T) {
	said := systemdListener(t)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(200_000))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	r := run(t, t.TempDir(), six, nil)
	all := until(t, said, "READY=1")
	if want := "STATUS=generation 1, 5 nodes, configuration applied"; !slices.Contains(all, want) {
		t.Errorf("before READY came %q, want %q", all, want)
	}
	until(t, said, "WATCHDOG=1")
	until(t, said, "WATCHDOG=1")

	for _, c := range []struct{ file, status string }{
		{six, "STATUS=generation 1, 5 nodes, configuration applied"},
		{"version: 2\n", "STATUS=generation 1, 5 nodes, configuration broken"},
	} {
		if err := os.WriteFile(r.opt.ConfigPath, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		asked := monotonic(t)
		r.hup <- syscall.SIGHUP
		all = until(t, said, "RELOADING=1")
		_, usec, _ := strings.Cut(all[len(all)-1], "MONOTONIC_USEC=")
		if at, err := strconv.ParseInt(usec, 10, 64); err != nil || at < asked || at > monotonic(t) {
			t.Errorf("reload at %q, asked for at %d", usec, asked)
		}
		if all = until(t, said, "READY=1"); !slices.Contains(all, c.status) {
			t.Errorf("before READY came %q, want %q", all, c.status)
		}
	}

	r.one.set(func(f *fake) { f.problem = "port 53 is held by named" })
	r.hup <- syscall.SIGHUP
	if all = until(t, said, "STATUS="); !strings.HasSuffix(all[len(all)-1], ", one: port 53 is held by named") {
		t.Errorf("status %q", all)
	}
	r.one.set(func(f *fake) { f.problem = "two\nREADY=1" }) // must not be read as a message of its own
	r.hup <- syscall.SIGHUP
	if all = until(t, said, "STATUS="); !strings.HasSuffix(all[len(all)-1], ", one: two READY=1") {
		t.Errorf("status %q", all)
	}
	r.stop()
	until(t, said, "STOPPING=1")
}

func TestMetricsTellOfTheFile(t *testing.T) {
	cut := six[:strings.Index(six, "      - {name: master-2")]
	for _, c := range []struct {
		name, file, want string
		state            api.FileState
	}{
		{"applied", six, "helperd_config_valid 1", api.Applied},
		{"broken", "version: 2\n", "helperd_config_valid 0", api.Broken},
		{"waiting", cut, "helperd_config_valid 0", api.Waiting},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, t.TempDir(), six, nil)
			r.await(t, api.Applied)
			if err := os.WriteFile(r.opt.ConfigPath, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			r.await(t, c.state)
			w := httptest.NewRecorder()
			backend{r.Daemon}.Metrics().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
			if !strings.Contains(w.Body.String(), "\n"+c.want+"\n") || !strings.Contains(w.Body.String(), "\nhelperd_config_generation 1\n") {
				t.Errorf("metrics without %q:\n%s", c.want, w.Body)
			}
		})
	}
}

func TestNothingToTell(t *testing.T) {
	said := systemdListener(t)
	r := run(t, t.TempDir(), "version: 2\n", nil)
	if all := until(t, said, "READY=1"); !slices.Contains(all, fmt.Sprintf("STATUS=configuration %s", api.Broken)) {
		t.Errorf("came %q", all)
	}
	if err := (backend{r.Daemon}).Reload(); err == nil || !strings.Contains(err.Error(), "helper.yaml:1:") {
		t.Errorf("reload: %v", err)
	}
}
