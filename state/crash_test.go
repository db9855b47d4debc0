package state

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/plan"
)

const writerEnv = "HELPERD_STATE_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		if err := writer(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	commits  = 16
	perGroup = 40
)

// groupOf gives what commit number i stores: some leases that were there before, and some new ones.
func groupOf(i int) []Lease {
	out := make([]Lease, perGroup)
	for j := range out {
		n := (i*perGroup/2 + j) % 500
		out[j] = Lease{Address: netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), MAC: plan.MAC{2, 0, 0, 0, byte(i), byte(j)}, Expires: time.Unix(int64(i), 0), State: Bound}
	}
	return out
}

// writer commits one group after the other and says "ack" after each, as a
// service answers its clients. A group that fails is tried once more; it is not acknowledged otherwise.
func writer(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	for i := range commits {
		for range 2 {
			if s.CommitLeases(groupOf(i), nil) == nil {
				fmt.Printf("ack %d\n", i)
				break
			}
		}
	}
	return nil // the file is left as it is, as by a power cut
}

// drive is a disk with the page cache above it, as a kernel has it that marks
// pages clean when they could not be written.
type drive struct {
	disk  []byte         // what a power cut leaves
	dirty map[int][]byte // by offset: what a power cut may leave or not
}

func (d *drive) write(at int, b []byte) { d.dirty[at] = b }

// sync puts on disk what is dirty. If it fails only those pages get there that
// are let through, and the others neither now nor later.
func (d *drive) sync(ok bool, through func(at int) bool) {
	if ok {
		through = all
	}
	d.disk = d.with(through)
	d.dirty = map[int][]byte{}
}

func all(int) bool     { return true }
func nothing(int) bool { return false }
func half(at int) bool { return at/os.Getpagesize()%2 == 0 }

// with gives the disk after a power cut that lets those of the dirty pages get through.
func (d *drive) with(through func(at int) bool) []byte {
	out := bytes.Clone(d.disk)
	for at, b := range d.dirty {
		if !through(at) {
			continue
		}
		if grow := at + len(b) - len(out); grow > 0 {
			out = append(out, make([]byte, grow)...)
		}
		copy(out[at:], b)
	}
	return out
}

var call = regexp.MustCompile(`^\d+ +(pwrite64|fdatasync|fsync|write)\((\d+)(?:, "((?:\\x[0-9a-f]{2})*)", \d+(?:, (\d+))?)?\) += (-?\d+)`)

// A power cut at any moment, with synchronisations that fail and whose pages are
// lost though later ones succeed, leaves a file that can be opened and has every
// acknowledged lease.
func TestPowerCutAfterFailedSync(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "strace")
	const failing, full = "fdatasync,fsync:error=EIO:when=", "pwrite64:error=ENOSPC:when="
	for _, inject := range []string{"", failing + "9", failing + "12+3", failing + "15..18", full + "30+7"} {
		t.Run(inject, func(t *testing.T) {
			t.Parallel()
			trace := traceWriter(t, inject)
			for name, through := range map[string]func(int) bool{"nothing": nothing, "half": half} {
				r := replay{t: t, dir: t.TempDir(), through: through, drive: drive{dirty: map[int][]byte{}}, want: map[netip.Addr]Lease{}}
				for line := range strings.Lines(trace) {
					r.line(line)
				}
				if r.acks < commits/2 || r.failed == 0 && inject != "" {
					t.Errorf("%d acknowledgements, %d failures", r.acks, r.failed)
				}
				t.Logf("%s of a failed synchronisation gets through: %d acknowledgements, %d failures, %d power cuts", name, r.acks, r.failed, r.cuts)
			}
		})
	}
}

// traceWriter runs writer with failures as strace's inject says, and gives its system calls.
func traceWriter(t *testing.T, inject string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "trace")
	args := []string{"-f", "-qq", "-xx", "-s", "1000000", "-o", name, "-e", "trace=pwrite64,fdatasync,fsync,write"}
	if inject != "" {
		args = append(args, "-e", "inject="+inject)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("strace", append(args, self)...)
	cmd.Env = append(os.Environ(), writerEnv+"="+t.TempDir(), "GOMAXPROCS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// replay does again what the writer did, and cuts the power after every step.
type replay struct {
	through            func(at int) bool // what gets on disk of a synchronisation that fails
	dir                string
	t                  *testing.T
	drive              drive
	want               map[netip.Addr]Lease // acknowledged
	acks, failed, cuts int
}

func (r *replay) line(text string) {
	r.t.Helper()
	m := call.FindStringSubmatch(text)
	if m == nil {
		if strings.Contains(text, "unfinished") || strings.Contains(text, "resumed") {
			r.t.Fatalf("system calls overlap: %.100s", text)
		}
		return
	}
	data, err := hex.DecodeString(strings.ReplaceAll(m[3], `\x`, ""))
	if err != nil {
		r.t.Fatal(err)
	}
	failed := m[5] == "-1"
	if failed {
		r.failed++
	}
	switch at, _ := strconv.Atoi(m[4]); m[1] {
	case "pwrite64":
		if !failed {
			r.drive.write(at, data)
		}
	case "fdatasync", "fsync":
		r.drive.sync(!failed, r.through)
	case "write":
		if text, ok := strings.CutPrefix(string(data), "ack "); ok {
			i, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				r.t.Fatal(err)
			}
			for _, l := range groupOf(i) {
				r.want[l.Address] = l
			}
			r.acks++
		}
	}
	if r.acks == 0 {
		return
	}
	r.cut("nothing", nothing)
	if len(r.drive.dirty) > 0 {
		r.cut("all", all)
		r.cut("half", half)
	}
}

// cut opens what a power cut leaves.
func (r *replay) cut(name string, through func(at int) bool) {
	r.t.Helper()
	r.cuts++
	if err := os.WriteFile(filepath.Join(r.dir, "helperd.db"), r.drive.with(through), 0o600); err != nil {
		r.t.Fatal(err)
	}
	s, err := Open(r.dir)
	if err != nil {
		r.t.Fatalf("power cut after %d acknowledgements, %s got through: %v", r.acks, name, err)
	}
	defer s.Close()
	leases, err := s.Leases()
	if err != nil {
		r.t.Fatal(err)
	}
	got := map[netip.Addr]Lease{}
	for _, l := range leases {
		got[l.Address] = l
	}
	for a, l := range r.want {
		if got[a].Expires.Before(l.Expires) || got[a].Expires.Equal(l.Expires) && got[a].MAC != l.MAC {
			r.t.Fatalf("power cut after %d acknowledgements, %s got through: want %+v, got %+v", r.acks, name, l, got[a])
		}
	}
}
