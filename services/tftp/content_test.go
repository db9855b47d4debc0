package tftp

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"helperd/services/tftp/packet"
	"helperd/timeline"
)

func TestNetascii(t *testing.T) {
	g := newRig(t, nil)
	g.write(t, "f", []byte("one\ntwo\r\nthree\rend"))
	big := bytes.Repeat([]byte("line\n"), 300_000)
	g.write(t, "big", big) // beyond one block, one window and one buffer
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "NetASCII", "tsize", "0", "blksize", "8")
	if diff := cmp.Diff([]string{"blksize", "8"}, w.oack()); diff != "" {
		t.Errorf("the size of a converted file is not known: %s", diff)
	}
	w.ack(0)
	if got, want := string(w.fetch(8, 1, nil)), "one\r\ntwo\r\x00\r\nthree\r\x00end"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w = g.dial(t)
	w.ask(packet.OpRead, "big", "netascii", "blksize", "1024", "windowsize", "16")
	w.oack()
	w.ack(0)
	got := w.fetch(1024, 16, func(n int) bool { return n == 40 || n == 333 })
	if want := bytes.ReplaceAll(big, []byte("\n"), []byte("\r\n")); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
	}
	if e := g.seen(t, timeline.TFTPGet, "/big"); e.Bytes != e.Total || e.Total != int64(len(got)) {
		t.Errorf("event %+v", e)
	}
}

// A file above the cache's size is read as it goes; one that shrinks meanwhile ends with an ERROR.
func TestLargeFile(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "big", cacheLargest+12_345)
	w := g.dial(t)
	w.ask(packet.OpRead, "big", "octet", "blksize", "1468", "windowsize", "64")
	w.oack()
	w.ack(0)
	if got := w.fetch(1468, 64, func(n int) bool { return n == 200 }); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
	}
	w = g.dial(t)
	w.ask(packet.OpRead, "big", "octet")
	w.data(1)
	if err := os.Truncate(filepath.Join(g.plan.TFTP.Root, "big"), 100_000); err != nil {
		t.Fatal(err)
	}
	for n := uint16(1); ; n++ {
		w.ack(n)
		p := w.next(soon)
		if p[1] == packet.OpError {
			break
		}
		if n > 300 {
			t.Fatal("no ERROR at the new end of the file")
		}
	}
	if e := g.seen(t, timeline.TFTPFailed, "/big"); !strings.Contains(e.Detail, "changed") {
		t.Errorf("event %+v", e)
	}
}

func TestCache(t *testing.T) {
	g := newRig(t, nil)
	g.write(t, "f", []byte("old"))
	if got := g.get(t, "f"); string(got) != "old" {
		t.Fatalf("got %q", got)
	}
	g.write(t, "f", []byte("new"))
	if got := g.get(t, "f"); string(got) != "new" {
		t.Errorf("got %q after the file was replaced", got)
	}
	c := newCache(1000)
	c.settle = 0
	open := func(name string, size int) []byte {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b, ok, err := c.get(f, st)
		if err != nil || ok != (size <= 1000) {
			t.Errorf("%s: cached %v, %v", name, ok, err)
		}
		return b
	}
	for _, size := range []int{400, 500, 600, 1001, 1000, 0} {
		if b := open("f", size); size <= 1000 && len(b) != size {
			t.Errorf("got %d bytes, want %d", len(b), size)
		}
		if c.used > c.budget {
			t.Errorf("%d bytes are cached, over the budget", c.used)
		}
	}
}

// What has just been written may change again without a trace in the file's times.
func TestCacheWaitsForAFileToSettle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	c := newCache(1000)
	if _, ok, err := c.get(f, st); ok || err != nil {
		t.Errorf("a file that was written a moment ago is cached (%v)", err)
	}
}
