package state

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/plan"
)

// filled gives the bytes of a file with many leases.
func filled(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir)
	for i := range 40 {
		leases := make([]Lease, 50)
		for j := range leases {
			leases[j] = Lease{Address: netip.AddrFrom4([4]byte{10, 0, byte(i), byte(j)}), MAC: plan.MAC{2, 0, 0, 0, byte(i), byte(j)}, Expires: time.Unix(1e9, 0), State: Bound}
		}
		if err := s.CommitLeases(leases, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "helperd.db"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever is wrong with the file, the start ends with an error that says what
// to do, and never with a crash: a file that is cut off is past its end mapped
// into memory, and touching that is SIGBUS.
func TestDamageIsNamed(t *testing.T) {
	whole := filled(t)
	page := os.Getpagesize()
	damage := map[string][]byte{
		"nonsense": []byte(strings.Repeat("damage", 10000)),
		"a byte":   {1},
	}
	for _, size := range []int{100, page, 2*page - 1, 2 * page, 3 * page, 5*page + 17, len(whole) / 2} {
		damage["cut off at "+strconv.Itoa(size)] = whole[:size]
	}
	for at := 2 * page; at < len(whole); at += page {
		damage[fmt.Sprintf("page %d of %d is zero", at/page, len(whole)/page)] = patched(whole, at, make([]byte, page))
		damage[fmt.Sprintf("page %d of %d is noise", at/page, len(whole)/page)] = patched(whole, at, []byte(strings.Repeat("\xa5\x5a\x01", page))[:page])
	}
	for name, b := range damage {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "helperd.db"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir)
		if err != nil {
			if !strings.Contains(err.Error(), "move it away") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		// Then the page was a free one.
		leases, err := s.Leases()
		if err != nil || len(leases) != 40*50 {
			t.Errorf("%s: %d leases, %v", name, len(leases), err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func patched(whole []byte, at int, by []byte) []byte {
	out := append([]byte(nil), whole...)
	copy(out[at:], by)
	return out
}

// A file that is cut off under a running daemon must not end it.
func TestCutOffWhileOpen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	path := filepath.Join(dir, "helperd.db")
	lease := Lease{Address: netip.MustParseAddr("10.0.0.1"), MAC: plan.MAC{2}, Expires: time.Unix(1e9, 0), State: Bound}
	if err := s.CommitLeases([]Lease{lease}, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.CommitLeases([]Lease{lease}, nil); err == nil {
			t.Fatal("stored in a file that is cut off")
		}
		if _, err := s.Leases(); err == nil {
			t.Fatal("read from a file that is cut off")
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	// Nobody holds the file any more.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
}

// After a failure another file in its place is not taken for the one that was there.
func TestReplacedFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	s.failed = errors.New("as after a failed write")
	path := filepath.Join(dir, "helperd.db")
	away := path + ".away"
	if err := os.Rename(path, away); err != nil {
		t.Fatal(err)
	}
	if err := s.Try(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	if err := os.WriteFile(path, []byte("another one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Try(); err == nil || !strings.Contains(err.Error(), "restart helperd") {
		t.Errorf("with another file: %v", err)
	}
	if err := os.Rename(away, path); err != nil {
		t.Fatal(err)
	}
	if err := s.Try(); err != nil {
		t.Errorf("with the file of before: %v", err)
	}
}

// A full disk keeps nobody from starting with the file that is there, and what
// is left of a start without one does not pass for a damaged file.
func TestFullDisk(t *testing.T) {
	netns.Require(t)
	dir := t.TempDir()
	if err := unix.Mount("state", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	fill := func(sub string) {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		_ = os.WriteFile(filler, make([]byte, 2<<20), 0o600) // as far as there is room
	}
	old := filepath.Join(dir, "old")
	lease := func(i int) Lease {
		return Lease{Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Hostname: strings.Repeat("x", 250), Expires: time.Unix(1e9, 0), State: Bound}
	}
	s := open(t, old)
	if err := s.CommitLeases([]Lease{lease(0)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fill("fresh")
	if _, err := Open(filepath.Join(dir, "fresh")); err == nil || !strings.Contains(err.Error(), "free space") {
		t.Errorf("a start without a file: %v", err)
	}
	s = open(t, old)
	defer s.Close()
	stored := 1
	for ; s.CommitLeases([]Lease{lease(stored)}, nil) == nil; stored++ {
		if stored > 5000 {
			t.Fatal("the disk is never full")
		}
	}
	if s.Try() == nil {
		t.Error("a full disk passes for a good one")
	}
	if leases, err := s.Leases(); err != nil || len(leases) != stored {
		t.Errorf("%d leases, %v; want %d", len(leases), err, stored)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := s.Try(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := s.CommitLeases([]Lease{lease(stored)}, nil); err != nil {
		t.Error(err)
	}
	if leases, err := s.Leases(); err != nil || len(leases) != stored+1 {
		t.Errorf("%d leases, %v; want %d", len(leases), err, stored+1)
	}
	open(t, filepath.Join(dir, "fresh")).Close()
}
