package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/test/rig"
)

// patience is how long one boot may take, power-on to power-off.
const patience = 600 * time.Second

// Disks as qemu's devices.
const (
	virtioDisk = "virtio-blk-pci,serial=root" // /dev/vda
	nvmeDisk   = "nvme,serial=root"           // /dev/nvme0n1
)

// A vm is one virtual machine; its disk lives over several power-ons.
type vm struct {
	rig      *rig.Rig
	mac, tap string
	firmware firmware
	disk     string
	dir      string
}

// newVM plugs a machine into the LAN of ip; empty: the helper's.
func newVM(t *testing.T, r *rig.Rig, mac, ip string, fw firmware, disk string) *vm {
	t.Helper()
	m := &vm{rig: r, mac: mac, tap: r.Tap(t, ip), firmware: fw, disk: disk, dir: t.TempDir()}
	file, err := os.Create(filepath.Join(m.dir, "disk"))
	must(t, err)
	must(t, file.Truncate(64<<20))
	must(t, file.Close())
	if fw.uefi() {
		install(t, filepath.Join(m.dir, "vars"), fw.variables(t), 0o644)
	}
	return m
}

func (m *vm) args(t *testing.T, serial string) []string {
	t.Helper()
	return append(m.machine(t), "-serial", "file:"+serial,
		"-drive", "if=none,id=d0,format=raw,cache=unsafe,file="+filepath.Join(m.dir, "disk"),
		"-device", m.disk+",drive=d0,bootindex=2")
}

// A transcript is what a machine wrote on its serial console in one power-on.
type transcript string

// powerOn boots the machine and returns when it powered itself off, when its
// console shows until, or when the time is over; then it is off.
func (m *vm) powerOn(t *testing.T, until string, limit time.Duration) transcript {
	t.Helper()
	serial := filepath.Join(m.dir, "serial")
	must(t, os.WriteFile(serial, nil, 0o644))
	if m.firmware == biosPXE {
		defer m.plug(t)()
	}
	// nice: the emulation of one machine takes all that the helper leaves.
	cmd := m.rig.Router.Exec("nice", append([]string{"-n", "5", "qemu-system-" + m.firmware.arch()}, m.args(t, serial)...)...)
	// The machine ends with the test, whatever ends the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &complaint, &complaint
	started := time.Now()
	must(t, cmd.Start())
	exit := make(chan error, 1)
	go func() { exit <- cmd.Wait() }()
	defer func() {
		t.Logf("%s (%s) was on for %.0f s", m.mac, m.firmware, time.Since(started).Seconds())
	}()
	for {
		select {
		case err := <-exit:
			if err != nil {
				t.Fatalf("qemu: %v\n%s", err, complaint.String())
			}
			return read(t, serial)
		case <-time.After(100 * time.Millisecond):
		}
		if seen := read(t, serial); until != "" && strings.Contains(string(seen), until) || time.Since(started) > limit {
			_ = cmd.Process.Kill()
			<-exit
			return seen
		}
	}
}

// noise is what firmware writes besides text: terminal control.
var noise = regexp.MustCompile("\x1b(\\[[0-9;?=]*[A-Za-z]|.)|[\x00-\x08\x0b-\x1f]")

func read(t *testing.T, serial string) transcript {
	t.Helper()
	b, err := os.ReadFile(serial)
	must(t, err)
	return transcript(noise.ReplaceAllString(string(b), ""))
}

// facts are the lines "E2E WORD NAME=VALUE" of the transcript, as NAME to VALUE.
func (s transcript) facts(word string) map[string]string {
	facts := map[string]string{}
	for line := range strings.Lines(string(s)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "E2E "+word+" "); ok {
			name, value, _ := strings.Cut(rest, "=")
			facts[name] = value
		}
	}
	return facts
}

// check fails the test unless the installer ran to its end and all its checks passed.
func (s transcript) check(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(string(s)) {
		if strings.HasPrefix(line, "E2E ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if strings.Contains(string(s), "E2E result ok") && !strings.Contains(string(s), " FAIL") {
		return
	}
	t.Fatalf("the machine did not pass all checks; the end of its console:\n%s", s.tail(60))
}

func (s transcript) tail(n int) string {
	lines := strings.Split(strings.TrimSpace(string(s)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// reachedInstaller reports whether a kernel of ours was started.
func (s transcript) reachedInstaller() bool { return strings.Contains(string(s), "E2E kernel started") }

// bootedDisk fails the test unless the machine started from its disk and loaded no installer.
func (s transcript) bootedDisk(t *testing.T) {
	t.Helper()
	if !strings.Contains(string(s), bootMark) || s.reachedInstaller() {
		t.Errorf("the machine did not start from its disk; the end of its console:\n%s", s.tail(40))
	}
}
