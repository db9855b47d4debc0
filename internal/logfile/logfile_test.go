package logfile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func line(s string) func([]byte) []byte {
	return func(b []byte) []byte { return append(b, s+"\n"...) }
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := New(path, 10)
	for i := range 4 {
		f.Append(line(fmt.Sprintf("number %d", i)))
		f.Append(line("more"))
		if err := f.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"": "number 3", ".1": "number 2", ".2": "number 1"} {
		if got := read(t, path+name); got != want+"\nmore\n" {
			t.Errorf("log%s: %q", name, got)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 3 {
		t.Errorf("files %q", names)
	}
}

// After a restart the file goes on; what is in memory at the end is written.
func TestServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for i := range 2 {
		f := New(path, 1<<20)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f.Append(line(fmt.Sprint("run ", i)))
		f.Serve(ctx, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if got := read(t, path); got != "run 0\nrun 1\n" {
		t.Errorf("%q", got)
	}
}

// A full buffer is written before its time.
func TestEarly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := New(path, 1<<20)
	f.Append(line(strings.Repeat("x", early)))
	select {
	case <-f.wake:
	default:
		t.Error("the writer sleeps")
	}
}

// Where the disk fails, lines are lost and the next write is tried.
func TestFailing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	f := New(filepath.Join(dir, "log"), 1<<20)
	f.Append(line("lost"))
	if err := f.Flush(); err == nil {
		t.Error("written into a folder that is not there")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f.Append(line("kept"))
	if err := f.Flush(); err != nil {
		t.Error(err)
	}
	if got := read(t, filepath.Join(dir, "log")); got != "kept\n" {
		t.Errorf("%q", got)
	}
	// While nobody writes, memory has an end.
	for range 5 {
		f.Append(line(strings.Repeat("x", 1<<20)))
	}
	if f.Lost() != 1 || len(f.lines) > maxBytes+2<<20 {
		t.Errorf("%d lines lost, %d bytes kept", f.Lost(), len(f.lines))
	}
}
