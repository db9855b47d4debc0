package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// patience is how long one boot may take, power-on to power-off.
const patience = 240 * time.Second

// firmware of a machine, and the network boot code on its card.
type firmware string

const (
	biosIPXE firmware = "BIOS, iPXE in the card's ROM"
	uefiPXE  firmware = "UEFI, PXE of the firmware itself" // knows nothing of iPXE
)

// A vm is one virtual machine; its disk lives over several power-ons.
type vm struct {
	rig      *rig.Rig
	mac, tap string
	firmware firmware
	dir      string
}

func newVM(t *testing.T, r *rig.Rig, mac string, fw firmware) *vm {
	t.Helper()
	m := &vm{rig: r, mac: mac, tap: r.Tap(t), firmware: fw, dir: t.TempDir()}
	disk, err := os.Create(filepath.Join(m.dir, "disk"))
	must(t, err)
	must(t, disk.Truncate(64<<20))
	must(t, disk.Close())
	if fw == uefiPXE {
		install(t, filepath.Join(m.dir, "vars"), first(t, "OVMF's variables", "/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"), 0o644)
	}
	return m
}

// first is the first of the files that is there.
func first(t *testing.T, what string, paths ...string) string {
	t.Helper()
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	netns.SkipOrFail(t, what+" is not installed: see test/packages.sh")
	return ""
}

func (m *vm) args(t *testing.T, serial string) []string {
	t.Helper()
	accel := os.Getenv("E2E_ACCEL")
	if accel == "" {
		accel = "tcg"
	}
	args := []string{
		"-accel", accel, "-cpu", "qemu64", "-m", "768", "-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none", "-vga", "none", "-serial", "file:" + serial,
		"-netdev", "tap,id=n0,ifname=" + m.tap + ",script=no,downscript=no,vnet_hdr=off",
		"-drive", "if=none,id=d0,format=raw,cache=unsafe,file=" + filepath.Join(m.dir, "disk"),
		"-device", "virtio-blk-pci,drive=d0,bootindex=2",
	}
	nic := "virtio-net-pci,netdev=n0,bootindex=1,mac=" + m.mac
	switch m.firmware {
	case biosIPXE:
		// qemu's own ROM of the card is iPXE. graphics=off: SeaBIOS mirrors the screen to the serial console.
		args = append(args, "-machine", "pc,graphics=off", "-device", nic)
	case uefiPXE:
		code := first(t, "OVMF", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd")
		args = append(args, "-machine", "q35", "-device", nic+",romfile=",
			"-drive", "if=pflash,format=raw,readonly=on,file="+code,
			"-drive", "if=pflash,format=raw,file="+filepath.Join(m.dir, "vars"))
	}
	return args
}

// A transcript is what a machine wrote on its serial console in one power-on.
type transcript string

// powerOn boots the machine and returns when it powered itself off, when its
// console shows until, or when the time is over; then it is off.
func (m *vm) powerOn(t *testing.T, until string, limit time.Duration) transcript {
	t.Helper()
	serial := filepath.Join(m.dir, "serial")
	must(t, os.WriteFile(serial, nil, 0o644))
	cmd := m.rig.Router.Exec("qemu-system-x86_64", m.args(t, serial)...)
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
