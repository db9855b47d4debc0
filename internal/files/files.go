// Package files says why a file or folder of this machine cannot be served, in
// words for people. It opens what it is asked for: the permission of the open
// file counts, not its mode bits.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Regular says why name is no file that can be read, as "NAME: why"; nil if it is one.
func Regular(name string) error {
	return look(name, "not a file", fs.FileMode.IsRegular)
}

// Folder says why name is no folder that can be read, as "NAME: why"; nil if it is one.
func Folder(name string) error {
	return look(name, "not a folder", fs.FileMode.IsDir)
}

func look(name, otherwise string, is func(fs.FileMode) bool) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return fmt.Errorf("%s: %w", name, Cause(err))
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, Cause(err))
	case !is(st.Mode()):
		return fmt.Errorf("%s: %s", name, otherwise)
	}
	return nil
}

// Cause is err without the operation and the name, which may be a client's.
func Cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
