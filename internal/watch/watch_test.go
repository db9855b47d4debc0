package watch

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Every way in which people and programs replace a file is seen, and nothing but the last content counts.
func TestEveryWayOfChange(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    func(t *testing.T, path string)
		change func(t *testing.T, path string)
	}{
		{"written in place", nil, func(t *testing.T, path string) { write(t, path, "new") }},
		{"renamed over, as editors do", nil, func(t *testing.T, path string) {
			write(t, path+".swp", "new")
			if err := os.Rename(path+".swp", path); err != nil {
				t.Fatal(err)
			}
		}},
		{"backup first, as vim does", nil, func(t *testing.T, path string) {
			if err := os.Rename(path, path+"~"); err != nil {
				t.Fatal(err)
			}
			write(t, path, "new")
		}},
		{"sed -i", nil, func(t *testing.T, path string) {
			if out, err := exec.Command("sed", "-i", "s/old/new/", path).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}},
		{"in halves", nil, func(t *testing.T, path string) {
			write(t, path, "n")
			time.Sleep(50 * time.Millisecond)
			write(t, path, "new")
		}},
		{"folder swapped by link, as Kubernetes does", func(t *testing.T, path string) {
			dir := filepath.Dir(path)
			for _, v := range []string{"old", "new"} {
				if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, v, "f"), v)
			}
			link(t, "old", filepath.Join(dir, "..data"))
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			link(t, "..data/f", path)
		}, func(t *testing.T, path string) {
			dir := filepath.Dir(path)
			link(t, "new", filepath.Join(dir, "..tmp"))
			if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
		}},
		{"target of a link into another folder", func(t *testing.T, path string) {
			target := filepath.Join(t.TempDir(), "real")
			write(t, target, "old")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			link(t, target, path)
		}, func(t *testing.T, path string) {
			target, err := os.Readlink(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, target, "new")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			write(t, path, "old")
			if c.set != nil {
				c.set(t, path)
			}
			seen := start(t, path)
			c.change(t, path)
			deadline := time.After(4 * time.Second) // below the poll: the event must do it
			for {
				select {
				case got := <-seen:
					if got.Err == nil && string(got.Bytes) == "new" {
						return
					}
				case <-deadline:
					t.Fatal("the change was not seen")
				}
			}
		})
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// start watches path and waits until the watch is up.
func start(t *testing.T, path string) <-chan Content {
	t.Helper()
	up := make(chan struct{})
	seen := watching(t, path, func(f *File) {
		if f.last.Err != nil || string(f.last.Bytes) != "old" {
			t.Fatalf("first content %q, %v", f.last.Bytes, f.last.Err)
		}
		f.up = func() { close(up) }
	})
	<-up
	return seen
}

func TestRemovedAndBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "old")
	seen := start(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if c := <-seen; c.Err == nil {
		t.Errorf("a removed file gave %q", c.Bytes)
	}
	write(t, path, "old")
	if c := <-seen; c.Err != nil || string(c.Bytes) != "old" {
		t.Errorf("the file that came back gave %q, %v", c.Bytes, c.Err)
	}
}

func TestFolderInPlaceOfFile(t *testing.T) {
	_, c := New(t.TempDir(), 10, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if c.Err == nil {
		t.Error("a folder was read as a file")
	}
}

func TestLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "0123456789")
	if _, c := New(path, 5, slog.New(slog.NewTextHandler(io.Discard, nil))); len(c.Bytes) != 6 {
		t.Errorf("read %d bytes with a limit of 5", len(c.Bytes))
	}
}

// watching runs a watcher of path, as set leaves it, and gives what it sees.
func watching(t *testing.T, path string, set func(*File)) <-chan Content {
	t.Helper()
	f, _ := New(path, 1<<20, slog.New(slog.NewTextHandler(io.Discard, nil)))
	set(f)
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan Content, 100)
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Run(ctx, func(c Content) { seen <- c }) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return seen
}

func next(t *testing.T, seen <-chan Content) Content {
	t.Helper()
	select {
	case c := <-seen:
		return c
	case <-time.After(4 * time.Second):
		t.Fatal("the change was not seen")
		return Content{}
	}
}

// The poll must not read what an editor is about to finish.
func TestPollWaitsForQuiet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "old")
	seen := watching(t, path, func(f *File) { f.poll = 20 * time.Millisecond })
	for _, text := range []string{"first", "second"} {
		write(t, path, "half")
		time.Sleep(100 * time.Millisecond)
		write(t, path, text)
		if c := next(t, seen); string(c.Bytes) != text {
			t.Fatalf("read %q before %q was written", c.Bytes, text)
		}
	}
}

func TestChangeBeforeTheWatchIsUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "old")
	seen := watching(t, path, func(f *File) { f.poll = time.Hour; write(t, path, "new") })
	if c := next(t, seen); string(c.Bytes) != "new" {
		t.Errorf("read %q", c.Bytes)
	}
}

func TestAnotherErrorIsNews(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	seen := watching(t, path, func(*File) {})
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if c := next(t, seen); c.Err == nil || !strings.Contains(c.Err.Error(), "no regular file") {
		t.Errorf("error %v", c.Err)
	}
}

func TestPipeDoesNotBlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan Content, 1)
	go func() {
		_, c := New(path, 10, slog.New(slog.NewTextHandler(io.Discard, nil)))
		done <- c
	}()
	if c := next(t, done); c.Err == nil {
		t.Error("a pipe was read as a file")
	}
}

// Who looks has seen: it is no news afterwards, and older than what comes later.
func TestLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "old")
	var f *File
	seen := watching(t, path, func(file *File) { f = file })
	write(t, path, "new")
	looked := f.Look()
	if string(looked.Bytes) != "new" {
		t.Errorf("looked and saw %q", looked.Bytes)
	}
	time.Sleep(2 * quiet)
	write(t, path, "newer")
	if c := next(t, seen); string(c.Bytes) != "newer" || c.Look <= looked.Look {
		t.Errorf("after look %d came %q of look %d", looked.Look, c.Bytes, c.Look)
	}
}
