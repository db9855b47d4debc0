// Package journal gives the log handler of the daemon: plain lines on a
// terminal, and lines with a priority and without a time when the journal,
// which adds its own, reads standard error.
package journal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// New gives a handler that writes to w and knows whether w is the journal.
func New(w *os.File, level slog.Leveler) slog.Handler {
	if isJournal(w) {
		return newPriority(w, level)
	}
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
}

// isJournal compares w with $JOURNAL_STREAM, which systemd sets to device:inode (systemd.exec(5)).
func isJournal(w *os.File) bool {
	var st unix.Stat_t
	stream := os.Getenv("JOURNAL_STREAM")
	return stream != "" && unix.Fstat(int(w.Fd()), &st) == nil && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// priority writes <N> before each line (sd-daemon(3)).
type priority struct {
	slog.Handler
	mu  *sync.Mutex
	buf *bytes.Buffer
	out io.Writer
}

func newPriority(w io.Writer, level slog.Leveler) *priority {
	buf := &bytes.Buffer{}
	text := slog.NewTextHandler(buf, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}})
	return &priority{text, &sync.Mutex{}, buf, w}
}

func (p *priority) Handle(ctx context.Context, r slog.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf.Reset()
	level := 7 // debug
	switch {
	case r.Level >= slog.LevelError:
		level = 3
	case r.Level >= slog.LevelWarn:
		level = 4
	case r.Level >= slog.LevelInfo:
		level = 6
	}
	fmt.Fprintf(p.buf, "<%d>", level)
	if err := p.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := p.out.Write(p.buf.Bytes())
	return err
}

func (p *priority) WithAttrs(a []slog.Attr) slog.Handler {
	return &priority{p.Handler.WithAttrs(a), p.mu, p.buf, p.out}
}

func (p *priority) WithGroup(g string) slog.Handler {
	return &priority{p.Handler.WithGroup(g), p.mu, p.buf, p.out}
}
