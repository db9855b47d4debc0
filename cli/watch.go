package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"helperd/artifacts"
)

// lookEvery is the time between two questions to the daemon while a person watches.
const lookEvery = 500 * time.Millisecond

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// watchArtifacts shows downloads until every file is here, or until ctx ends,
// which is no error: the person who watches has seen enough.
func (a *app) watchArtifacts(ctx context.Context, w io.Writer) error {
	var show watcher = &lines{w: w, said: map[string]string{}}
	if terminal(w) {
		show = newBars(ctx, w)
	}
	defer show.end()
	client := a.client()
	for ctx.Err() == nil {
		rows, err := client.Artifacts(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		pending := 0
		for i := range rows {
			show.row(&rows[i])
			if rows[i].Pending() {
				pending++
			}
		}
		if err == nil && pending == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
	return nil
}

// watcher shows rows as they change.
type watcher interface {
	row(*artifacts.Row)
	end()
}

// lines is for logs and pipes: a line when the state of a file changes, and every ten percent.
type lines struct {
	w    io.Writer
	said map[string]string
}

func (l *lines) row(r *artifacts.Row) {
	key := rowKey(r)
	state := string(r.State)
	if r.State == artifacts.Downloading || r.State == artifacts.Verifying {
		if r.Size > 0 {
			state += fmt.Sprintf(" %d %% of %s", r.Done*100/r.Size/10*10, bytesOf(r.Size))
		}
	}
	if r.State == artifacts.OnDemand || l.said[key] == state {
		return
	}
	l.said[key] = state
	text := state
	if r.State == artifacts.Failed || r.State == artifacts.DiskFull || r.State == artifacts.Waiting || r.State == artifacts.Missing {
		text += ": " + r.Detail
	}
	_, _ = fmt.Fprintln(l.w, printable(key+": "+text)) // nobody reads any more: nobody to tell
}

func (l *lines) end() {}

func rowKey(r *artifacts.Row) string { return artifactName(r) + " " + r.File }

// bars is for a terminal: a bar for each file that was not here at first.
type bars struct {
	progress *mpb.Progress
	bars     map[string]*bar
}

type bar struct {
	*mpb.Bar
	note atomic.Pointer[string] // behind the bar
}

func (b *bar) text() string {
	if note := b.note.Load(); note != nil {
		return *note
	}
	return ""
}

func (b *bar) update(r *artifacts.Row) {
	note := " " + string(r.State)
	switch r.State {
	case artifacts.Downloading, artifacts.Verifying:
		for _, part := range []string{done(r), bytesOf(r.Size), speed(r.Rate), eta(r)} {
			if part != "" {
				note += "  " + part
			}
		}
	case artifacts.Present:
		note += "  " + bytesOf(r.Size)
	default:
		note += ": " + r.Detail
	}
	note = printable(note)
	b.note.Store(&note)
	b.SetTotal(r.Size, false)
	b.SetCurrent(r.Done)
	if !r.Pending() {
		b.SetTotal(r.Size, true)
	}
}

func newBars(ctx context.Context, w io.Writer) *bars {
	return &bars{mpb.NewWithContext(ctx, mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithAutoRefresh()), map[string]*bar{}}
}

func (b *bars) row(r *artifacts.Row) {
	key := rowKey(r)
	have := b.bars[key]
	if have == nil {
		if !r.Pending() {
			return
		}
		have = &bar{}
		have.Bar = b.progress.AddBar(
			0,
			mpb.PrependDecorators(decor.Name(printable(key)+" ", decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return have.text() })),
		)
		b.bars[key] = have
	}
	have.update(r)
}

func (b *bars) end() {
	for _, one := range b.bars {
		if !one.Completed() {
			one.Abort(false)
		}
	}
	b.progress.Wait()
}
