package fetch

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Folder holds whole files by their checksum, and downloads under way.
type Folder struct {
	Dir string // it is made when it is needed
	// Reserve is left free in bytes: the leases, which matter more, are on the same disk.
	Reserve int64
}

// Whole is where the verified file with that checksum is, or would be.
func (d *Folder) Whole(sum string) string { return filepath.Join(d.Dir, "sha256", sum) }

// Partial is where the download of it is.
func (d *Folder) Partial(sum string) string { return filepath.Join(d.Dir, "partial", sum) }

// Make makes the folders.
func (d *Folder) Make() error {
	for _, sub := range []string{"sha256", "partial", "streams"} {
		if err := os.MkdirAll(filepath.Join(d.Dir, sub), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Sums are the checksums of the whole files that are there.
func (d *Folder) Sums() []string {
	entries, err := os.ReadDir(filepath.Join(d.Dir, "sha256"))
	if err != nil {
		return nil // made when something is fetched, or said then
	}
	var out []string
	for _, e := range entries {
		if IsSum(e.Name()) && e.Type().IsRegular() {
			out = append(out, e.Name())
		}
	}
	return out
}

// ImportPrefix begins the names of files in partial/ that come by an import.
const ImportPrefix = "import-"

// Sweep removes what an import has left that was killed.
func (d *Folder) Sweep() {
	left, _ := filepath.Glob(filepath.Join(d.Dir, "partial", ImportPrefix+"*")) // the pattern is well-formed
	for _, name := range left {
		_ = os.Remove(name) // or at the next start
	}
}

// IsSum reports whether name is a checksum: 64 hex digits.
func IsSum(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == 32
}

// Keep makes the verified content of f, which is the file at from, the whole file of sum.
func (d *Folder) Keep(f *os.File, from, sum string) error {
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(from, d.Whole(sum)); err != nil {
		return err
	}
	return syncDir(filepath.Join(d.Dir, "sha256"))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

// Free is how many bytes the store may still write.
func (d *Folder) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.Dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail)*st.Bsize - d.Reserve, nil
}

// Identity tells one version of a file from the next.
type Identity struct {
	Dev, Ino     uint64
	Size         int64
	Mtime, Ctime int64 // ns
}

// Identify looks at a file of any kind but a special one.
func Identify(path string) (Identity, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Identity{}, err
	}
	return identityOf(st)
}

func identityOf(st os.FileInfo) (Identity, error) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.Mode().IsRegular() {
		return Identity{}, errors.New("not a file")
	}
	return Identity{sys.Dev, sys.Ino, sys.Size, sys.Mtim.Nano(), sys.Ctim.Nano()}, nil
}
