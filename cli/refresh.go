package cli

import (
	"bytes"
	"context"
	"io"
	"time"
)

// refreshEvery is the time between two pictures.
const refreshEvery = time.Second

// What comes between two pictures: ECMA-48 to clear a terminal, else an empty line.
const (
	topLeft   = "\x1b[H\x1b[2J"
	separator = "\n"
)

// refresh shows something again and again until ctx ends, which is no error: the
// person who watches has seen enough. On a terminal each picture replaces the one before.
func refresh(ctx context.Context, w io.Writer, show func(io.Writer) error) error {
	between := separator
	if terminal(w) {
		between = topLeft
	}
	for first := true; ; first = false {
		var picture bytes.Buffer // written at once: no flicker
		if !first || between == topLeft {
			picture.WriteString(between)
		}
		if err := show(&picture); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if _, err := w.Write(picture.Bytes()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(refreshEvery):
		}
	}
}
