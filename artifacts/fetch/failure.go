package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/files"
	"helperd/internal/human"
)

// Kind of a failure.
type Kind string

// The kinds.
const (
	Passing  Kind = "waiting"   // may pass by itself
	Standing Kind = "failed"    // somebody must mend something
	DiskFull Kind = "disk-full" // passes when there is space
	Missing  Kind = "missing"   // a file of the user's is not there
)

// A Failure is why an attempt ended. Its text names no path of this machine and no URL.
type Failure struct {
	Kind  Kind
	Text  string
	Slow  bool          // nothing changes unless a person acts
	After time.Duration // for which the server wants not to be asked
	Need  int64         // bytes that must be free on the disk; 0: nobody knows
}

func (f *Failure) Error() string { return f.Text }

// Disk says what the disk has against a write.
func Disk(err error) *Failure {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return Full(0, 0)
	case errors.Is(err, unix.EROFS):
		return &Failure{Kind: Standing, Text: "the helper's state folder is on a read-only file system; mount it writable"}
	case errors.Is(err, os.ErrPermission):
		return &Failure{Kind: Standing, Text: "the helper may not write its state folder; give it to the user that helperd runs as"}
	}
	return &Failure{Kind: Standing, Text: fmt.Sprintf("the helper's disk gives an error: %v; see its kernel log", files.Cause(err))}
}

// Full says how many bytes are missing of the need; 0: nobody knows.
func Full(missing, need int64) *Failure {
	space := "some more space"
	if missing > 0 {
		space = human.Size(missing) + " more"
	}
	return &Failure{Kind: DiskFull, Text: "the helper's disk is full: " + space + " must be free in the file system of its state folder; it goes on by itself then", Need: need}
}

// unreadable says why a file of the user's cannot be read.
func unreadable(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &Failure{Kind: Missing, Text: "it is not on the helper; put the file where the configuration says"}
	case errors.Is(err, fs.ErrPermission):
		return &Failure{Kind: Standing, Text: "it is not readable on the helper; give the user that helperd runs as the right to read it"}
	}
	return &Failure{Kind: Standing, Text: fmt.Sprintf("it is not readable on the helper: %v", files.Cause(err))}
}

func mismatch(got, want, what, do string) *Failure {
	return &Failure{Kind: Standing, Slow: true, Text: fmt.Sprintf("sha256 of %s is %.12s... and %.12s... is declared: it is not served; %s", what, got, want, do)}
}
