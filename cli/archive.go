package cli

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// archive is what an import reads.
type archive interface {
	// each calls f with every file; r is good until f returns.
	each(f func(name string, size int64, r io.Reader) error) error
	// size is how many bytes the files have together, or nearly; 0: nobody knows.
	size() (int64, error)
}

func isJSON(name string) bool { return strings.HasSuffix(name, ".json") }

// folder is an archive on the disk; links in it to files are followed.
type folder string

func (d folder) walk(f func(path, name string, st fs.FileInfo) error) error {
	return filepath.WalkDir(string(d), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := os.Stat(path)
		if err != nil || !st.Mode().IsRegular() {
			return err
		}
		name, err := filepath.Rel(string(d), path)
		if err != nil {
			return err
		}
		return f(path, filepath.ToSlash(name), st)
	})
}

func (d folder) each(f func(name string, size int64, r io.Reader) error) error {
	return d.walk(func(path, name string, st fs.FileInfo) error {
		r, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		return f(name, st.Size(), io.LimitReader(r, st.Size()))
	})
}

func (d folder) size() (sum int64, err error) {
	err = d.walk(func(_, _ string, st fs.FileInfo) error {
		sum += st.Size()
		return nil
	})
	return sum, err
}

// tarFile is the path of a tar archive, which may be compressed by gzip.
type tarFile string

func (t tarFile) each(f func(name string, size int64, r io.Reader) error) error {
	file, err := os.Open(string(t))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	in := bufio.NewReaderSize(file, 1<<20)
	var from io.Reader = in
	if zipped(in) {
		if from, err = gzip.NewReader(in); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s is no tar archive, or a damaged one: %w", t, err)
		case h.Typeflag != tar.TypeReg:
			continue
		}
		if err := f(h.Name, h.Size, r); err != nil {
			return err
		}
	}
}

func (t tarFile) size() (int64, error) {
	file, err := os.Open(string(t))
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	if zipped(bufio.NewReader(file)) {
		return 0, nil
	}
	st, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// zipped reports whether a gzip stream begins (RFC 1952 section 2.3.1).
func zipped(r *bufio.Reader) bool {
	magic, err := r.Peek(2)
	return err == nil && magic[0] == 0x1f && magic[1] == 0x8b
}
