package ftp

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/afero"
)

var errReadOnly = errors.New("this server is read-only")

// ReadDir implements ftpserver.ClientDriverExtensionFileList.
func (t *tree) ReadDir(name string) ([]fs.FileInfo, error) {
	return guarded(t.session, func() ([]fs.FileInfo, error) {
		st, err := t.current()
		if err != nil {
			return nil, err
		}
		if !st.plan.FTP.Listing {
			return nil, errUnlisted
		}
		return t.list(st, name)
	})
}

// list shows what is declared and what is the user's own, without what cannot
// be fetched: hidden files, links that lead out, files that are missing.
func (t *tree) list(st *state, name string) ([]fs.FileInfo, error) {
	names, declared := st.folders[name]
	names = slices.Clone(names)
	own, err := t.listOwn(st, name)
	if err != nil && !declared {
		return nil, err
	}
	names = append(names, own...)
	slices.Sort(names)
	var infos []fs.FileInfo
	for _, n := range slices.Compact(names) {
		if strings.ContainsFunc(n, unicode.IsControl) || !safe("/"+n) {
			continue // a line of a listing cannot carry it
		}
		if info, err := t.stat(path.Join(name, n)); err == nil {
			infos = append(infos, info)
		}
	}
	return infos, nil
}

func (t *tree) listOwn(st *state, name string) ([]string, error) {
	if !safe(name) {
		return nil, errNone
	}
	f, _, err := t.session.openOwn(st, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, errNone // no folder
	}
	return names, nil
}

// named is a file under the name that it was asked by.
type named struct {
	fs.FileInfo
	name string
}

// Name implements fs.FileInfo.
func (n named) Name() string { return n.name }

// Mode implements fs.FileInfo: what a client may do, not what this machine's users may.
func (n named) Mode() fs.FileMode {
	if n.IsDir() {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// folder is one that only the plan knows.
type folder string

// Name implements fs.FileInfo.
func (f folder) Name() string { return path.Base(string(f)) }

// Size implements fs.FileInfo.
func (folder) Size() int64 { return 0 }

// Mode implements fs.FileInfo.
func (folder) Mode() fs.FileMode { return fs.ModeDir | 0o555 }

// ModTime implements fs.FileInfo. It is the same at every request.
func (folder) ModTime() time.Time { return time.Unix(0, 0) }

// IsDir implements fs.FileInfo.
func (folder) IsDir() bool { return true }

// Sys implements fs.FileInfo.
func (folder) Sys() any { return nil }

// loader is one that is inside an ISO. It gets its name from named.
type loader struct {
	size    int64
	changed time.Time
}

// Name implements fs.FileInfo.
func (loader) Name() string { return "" }

// Size implements fs.FileInfo.
func (l loader) Size() int64 { return l.size }

// Mode implements fs.FileInfo.
func (loader) Mode() fs.FileMode { return 0o444 }

// ModTime implements fs.FileInfo.
func (l loader) ModTime() time.Time { return l.changed }

// IsDir implements fs.FileInfo.
func (loader) IsDir() bool { return false }

// Sys implements fs.FileInfo.
func (loader) Sys() any { return nil }

// readOnly is the part of afero.Fs that there is no use for here: the library
// reads by GetHandle and ReadDir.
type readOnly struct{}

func (readOnly) Create(string) (afero.File, error)                     { return nil, errReadOnly }
func (readOnly) Open(string) (afero.File, error)                       { return nil, errReadOnly }
func (readOnly) OpenFile(string, int, os.FileMode) (afero.File, error) { return nil, errReadOnly }
func (readOnly) Mkdir(string, os.FileMode) error                       { return errReadOnly }
func (readOnly) MkdirAll(string, os.FileMode) error                    { return errReadOnly }
func (readOnly) Remove(string) error                                   { return errReadOnly }
func (readOnly) RemoveAll(string) error                                { return errReadOnly }
func (readOnly) Rename(string, string) error                           { return errReadOnly }
func (readOnly) Name() string                                          { return "helperd" }
func (readOnly) Chmod(string, os.FileMode) error                       { return errReadOnly }
func (readOnly) Chown(string, int, int) error                          { return errReadOnly }
func (readOnly) Chtimes(string, time.Time, time.Time) error            { return errReadOnly }
