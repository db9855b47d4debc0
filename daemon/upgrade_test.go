package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helperd/internal/guard"
	"helperd/internal/handover"
	"helperd/internal/netns"
)

// A program that cannot take over is refused with the reason, and nothing happens.
func TestWhoMayTakeOver(t *testing.T) {
	dir := t.TempDir()
	d, err := newDaemon(Options{
		ConfigPath: filepath.Join(dir, "helper.yaml"), StateDir: filepath.Join(dir, "state"),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.guard.Wait(); d.close() })
	// It takes over by format, and says text about the configuration with an exit code.
	program := func(format int, text string, code int) string {
		return fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = version ]; then echo %d; exit; fi\n[ \"$2\" = %s ] || exit 9\necho '%s' >&2; exit %d\n", format, d.opt.ConfigPath, text, code)
	}
	good := program(handover.Version, "", 0)
	for _, test := range []struct {
		name, content string
		mode          os.FileMode
		owner         int
		want          string // in the error; empty: it takes over
	}{
		{"good", good, 0o755, 0, ""},
		{"is not there", "", 0, 0, "no such file"},
		{"no program", good, 0o644, 0, "is no program"},
		{"others may write it", good, 0o775, 0, "writable for nobody else"},
		{"others may write it, sticky", good, 0o777 | os.ModeSticky, 0, "writable for nobody else"},
		{"belongs to somebody else", good, 0o755, 12345, "must belong to root"},
		{"leaves a child", "#!/bin/sh\nsleep 100 &\necho 1\n", 0o755, 0, "cannot take over"},
		{"knows no upgrade", "#!/bin/sh\necho unknown flag; exit 2\n", 0o755, 0, "systemctl restart helperd"},
		{"another format", program(handover.Version+1, "", 0), 0o755, 0, "takes over by format"},
		{"does not take the file", program(handover.Version, "helper.yaml:3:1: unknown key", 3), 0o755, 0, "helper.yaml:3:1: unknown key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "helperd")
			if test.content != "" {
				if err := os.WriteFile(path, []byte(test.content), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, test.mode); err != nil {
					t.Fatal(err)
				}
			}
			if test.owner != 0 {
				if os.Getuid() != 0 {
					netns.SkipOrFail(t, "only root gives files away")
				}
				if err := os.Chown(path, test.owner, test.owner); err != nil {
					t.Fatal(err)
				}
			}
			said := make(chan error, 1)
			go func() { said <- backend{d}.Upgrade(t.Context(), path) }()
			select {
			case next := <-d.upgrades:
				if err := <-said; err != nil || test.want != "" || next != path {
					t.Errorf("goes on as %s, %v; want %q", next, err, test.want)
				}
			case err := <-said:
				if test.want == "" || err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasSuffix(err.Error(), "nothing has changed") {
					t.Errorf("got %v, want %q", err, test.want)
				}
			}
		})
	}
}

// A path that others can change leads to another program by the time that it is executed.
func TestWhoMayMoveIt(t *testing.T) {
	open, closed := t.TempDir(), t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{open, closed} {
		if err := os.WriteFile(filepath.Join(dir, "helperd"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(closed, "helperd"), filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	if path, err := trusted(filepath.Join(closed, "helperd")); err != nil || path != filepath.Join(closed, "helperd") {
		t.Errorf("its own path: %s, %v", path, err)
	}
	for _, link := range []string{filepath.Join(open, "link"), filepath.Join(closed, "link")} {
		if path, err := trusted(link); err != nil || path != filepath.Join(closed, "helperd") {
			t.Errorf("a link, which is to be followed once: %s, %v", path, err)
		}
	}
	if path, err := trusted(filepath.Join(open, "helperd")); err == nil || !strings.Contains(err.Error(), open) {
		t.Errorf("in a folder that all may write: %s, %v", path, err)
	}
}

// lingering is a service that ends only when it is let go.
type lingering struct {
	*fake
	ending, leave chan struct{}
}

func (l *lingering) Serve(ctx context.Context) error {
	<-ctx.Done()
	close(l.ending)
	<-l.leave
	return nil
}

// A daemon that is told to stop while downloads end before an upgrade stops: the new program would not know of it.
func TestStopDuringUpgrade(t *testing.T) {
	l := &lingering{&fake{name: "lingering"}, make(chan struct{}), make(chan struct{})}
	r := run(t, t.TempDir(), "", func(r *runs) {
		r.services = []*service{{Service: l, fuse: &guard.Fuse{}, group: guard.New(nil)}}
	})
	r.upgrades <- "/bin/false" // this process, if it is wrong
	<-l.ending
	r.stop()
	close(l.leave)
	if err := <-r.done; err != nil {
		t.Errorf("%v, want the end", err)
	}
}
