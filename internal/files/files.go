// Package files opens what this machine serves, and says why it cannot be served
// in words for people: the permission of the open file counts, not its mode bits.
package files

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Open opens name for reading, whatever it is: a FIFO does not block. The caller closes it.
func Open(name string) (*os.File, fs.FileInfo, error) {
	return opened(os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0))
}

// OpenBelow opens what a client calls name below the folder root, as Open does.
// Slashes around name do not count; without anything else it is root. Neither
// dots nor symbolic links lead out of root, which is looked up for each call, so
// that a folder that is replaced is followed. When that is what fails, the error
// is an *fs.PathError of root.
func OpenBelow(root, name string) (*os.File, fs.FileInfo, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = dir.Close() }()
	return opened(dir.OpenFile(cmp.Or(strings.Trim(name, "/"), "."), os.O_RDONLY|unix.O_NONBLOCK, 0))
}

func opened(f *os.File, err error) (*os.File, fs.FileInfo, error) {
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

// Regular says why name is no file that can be read, as "NAME: why"; nil if it is one.
func Regular(name string) error {
	return look(name, "not a file", fs.FileMode.IsRegular)
}

// Folder says why name is no folder that can be read, as "NAME: why"; nil if it is one.
func Folder(name string) error {
	return look(name, "not a folder", fs.FileMode.IsDir)
}

func look(name, otherwise string, is func(fs.FileMode) bool) error {
	f, st, err := Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, Cause(err))
	}
	_ = f.Close()
	if !is(st.Mode()) {
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
