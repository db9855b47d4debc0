package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What the page cache holds is sent without a detour by who may wait for disks.
func TestReadyFromThePageCache(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	want := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	if err := os.WriteFile(name, want, 0o644); err != nil { // and now the page cache has it
		t.Fatal(err)
	}
	h, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	_, err = unix.Preadv2(int(h.Fd()), [][]byte{make([]byte, 1)}, 0, unix.RWF_NOWAIT)
	tells := err == nil // not every file system can
	f := NewFile(h, int64(len(want))).(*file)
	for off := 0; off <= len(want); off += 10_000 {
		n := min(10_000, len(want)-off)
		_, held := f.within(int64(off), 10_000)
		if got := f.ready(int64(off), 10_000); got != (tells || held) {
			t.Fatalf("ready at %d: %v; in the buffer: %v; the file system tells: %v", off, got, held, tells)
		}
		if b, err := f.at(int64(off), 10_000); err != nil || !bytes.Equal(b, want[off:off+n]) {
			t.Fatalf("at %d: %d bytes, %v", off, len(b), err)
		}
		if !f.ready(int64(off), 10_000) {
			t.Fatalf("not ready at %d, although it was just read", off)
		}
	}
}
