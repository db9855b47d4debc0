package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// process is a running program with all that it forks, in a cgroup of its own.
type process struct {
	cgroup string
	cmd    *exec.Cmd
	out    rig.Output // for the case that it fails
	ended  bool
}

var serial atomic.Int64

// start runs args in ns until the test ends.
func start(t testing.TB, ns *netns.NS, args []string) *process {
	t.Helper()
	name := fmt.Sprintf("helperd-bench-%d-%d", os.Getpid(), serial.Add(1))
	p := &process{cgroup: filepath.Join(cgroups(), name)}
	must(t, os.Mkdir(p.cgroup, 0o755))
	dir, err := os.Open(p.cgroup)
	must(t, err)
	defer dir.Close()
	p.cmd = ns.Exec(args[0], args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = time.Second // what it forked may hold the pipe
	p.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := p.cmd.Start(); err != nil {
		_ = os.Remove(p.cgroup)
		t.Fatalf("start %s in a cgroup: %v", args[0], err)
	}
	t.Cleanup(func() { p.stop(t) })
	return p
}

// stop ends the program and what it forked, if they have not ended yet.
func (p *process) stop(t testing.TB) {
	t.Helper()
	if p.ended {
		return
	}
	p.ended = true
	must(t, os.WriteFile(filepath.Join(p.cgroup, "cgroup.kill"), []byte("1"), 0))
	_ = p.cmd.Wait() // it was killed
	for range 100 {
		if err := os.Remove(p.cgroup); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond) // until the last one is gone
	}
	t.Errorf("cgroup %s cannot be removed", p.cgroup)
}

// cpu is what the program and all that it forked have used so far.
func (p *process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(p.cgroup, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			us, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return time.Duration(us) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("%s/cpu.stat has no usage_usec", p.cgroup)
}

// memory is the proportional set size of the program and of all that it forked, in bytes.
func (p *process) memory() (int64, error) {
	pids, err := os.ReadFile(filepath.Join(p.cgroup, "cgroup.procs"))
	if err != nil {
		return 0, err
	}
	var total int64
	for _, pid := range strings.Fields(string(pids)) {
		b, err := os.ReadFile(filepath.Join("/proc", pid, "smaps_rollup"))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(b), "\nPss:")
		var kb int64
		if _, err := fmt.Sscan(rest, &kb); err != nil {
			return 0, fmt.Errorf("/proc/%s/smaps_rollup has no Pss: %w", pid, err)
		}
		total += kb << 10
	}
	return total, nil
}

// cgroups is where the cgroup2 file system is mounted: alone, or beside version
// 1, where it has no controllers but counts all the same. Empty: nowhere.
var cgroups = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	return ""
})
