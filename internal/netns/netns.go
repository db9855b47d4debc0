package netns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// runDir is where iproute2 keeps named namespaces.
const runDir = "/run/netns"

// serial makes names unique within the test process.
var serial atomic.Int64

// An NS is a network namespace that lives as long as its test.
type NS struct {
	Name  string // as `ip netns` shows it
	links int    // devices made by Link, for their names
}

// New makes a namespace with lo up and without IPv6 duplicate address
// detection (an address would be unusable for its first second). It is removed
// when the test ends. Without privileges the test ends by SkipOrFail.
func New(t testing.TB) *NS {
	t.Helper()
	Require(t)
	ns := &NS{Name: fmt.Sprintf("helperd-test-%d-%d", os.Getpid(), serial.Add(1))}
	if out, err := exec.Command("ip", "netns", "add", ns.Name).CombinedOutput(); err != nil {
		SkipOrFail(t, fmt.Sprintf("ip netns add: %v: %s", err, out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", ns.Name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del %s: %v: %s", ns.Name, err, out)
		}
	})
	ns.IP(t, "link", "set", "lo", "up")
	ns.Do(t, func() {
		for _, set := range []string{"all", "default"} {
			path := "/proc/sys/net/ipv6/conf/" + set + "/accept_dad"
			if err := os.WriteFile(path, []byte("0"), 0o644); err != nil && !os.IsNotExist(err) {
				t.Fatalf("turn off duplicate address detection: %v", err)
			}
		}
	})
	return ns
}

// Path is the file that stands for the namespace, as for setns(2) and nsenter(1).
func (ns *NS) Path() string { return filepath.Join(runDir, ns.Name) }

// Exec gives a command that will run in the namespace. The caller starts it,
// waits for it and ends it. The process becomes the program itself, so
// signals sent to it arrive there.
func (ns *NS) Exec(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", ns.Name, name}, args...)...)
}

// Run runs a command in the namespace and gives its standard output and
// error; the test fails when it does. For long runs use Exec.
func (ns *NS) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := ns.Exec(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s in %s: %v\n%s", name, strings.Join(args, " "), ns.Name, err, out)
	}
	return string(out)
}

// IP runs `ip` on the namespace, such as ns.IP(t, "route", "add", "default", "via", "192.0.2.1").
func (ns *NS) IP(t testing.TB, args ...string) {
	t.Helper()
	out, err := exec.Command("ip", append([]string{"-n", ns.Name}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s in %s: %v\n%s", strings.Join(args, " "), ns.Name, err, out)
	}
}

// Do runs fn with its thread inside the namespace: sockets that fn opens
// itself live there, also after Do has returned. Goroutines that fn starts,
// net.Dial of names, and http transports that dial in goroutines do not; dial
// them through a function that calls Do.
func (ns *NS) Do(t testing.TB, fn func()) {
	t.Helper()
	if err := ns.Call(func() error { fn(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// Call is Do for code that has no test at hand, such as a dialler in a
// transport; it gives fn's error, or why the namespace could not be entered.
func (ns *NS) Call(fn func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the thread's own namespace: %w", err)
	}
	defer unix.Close(home)
	inside, err := unix.Open(ns.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open namespace %s: %w", ns.Name, err)
	}
	defer unix.Close(inside)
	if err := unix.Setns(inside, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", ns.Name, err)
	}
	defer func() {
		// A thread that cannot come home stays locked, and so ends with its goroutine.
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}
