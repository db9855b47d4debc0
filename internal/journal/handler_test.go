package journal

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPriorityLines(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newPriority(&out, slog.LevelInfo)).With("service", "dns")
	log.Debug("hidden")
	log.Info("one", "node", "w0")
	log.Warn("two")
	log.Error("three\nlines")
	want := "<6>msg=one service=dns node=w0\n<4>msg=two service=dns\n<3>msg=\"three\\nlines\" service=dns\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestJournalIsRecognised(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	slog.New(New(f, slog.LevelInfo)).Info("plain")
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	slog.New(New(f, slog.LevelInfo)).Info("journal")
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	if !strings.HasPrefix(lines[0], "time=") || lines[1] != "<6>msg=journal" {
		t.Errorf("lines %q", lines)
	}
}
