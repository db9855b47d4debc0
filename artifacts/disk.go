package artifacts

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"helperd/internal/files"
	"helperd/internal/human"
)

// reserve is left free in bytes: the leases, which matter more, are on the same disk.
const reserve = 64 << 20

// disk is the folder of a store.
type disk struct {
	dir     string
	reserve int64
}

func (d *disk) whole(sum string) string   { return filepath.Join(d.dir, "sha256", sum) }
func (d *disk) partial(sum string) string { return filepath.Join(d.dir, "partial", sum) }

// make makes the folders.
func (d *disk) make() error {
	for _, sub := range []string{"sha256", "partial", "streams"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// sums are the checksums of the whole files that are there.
func (d *disk) sums() []string {
	entries, err := os.ReadDir(filepath.Join(d.dir, "sha256"))
	if err != nil {
		return nil // made when something is fetched, or said then
	}
	var out []string
	for _, e := range entries {
		if isSum(e.Name()) && e.Type().IsRegular() {
			out = append(out, e.Name())
		}
	}
	return out
}

// sweep removes what an import has left that was killed.
func (d *disk) sweep() {
	left, _ := filepath.Glob(filepath.Join(d.dir, "partial", importPrefix+"*")) // the pattern is well-formed
	for _, name := range left {
		_ = os.Remove(name) // or at the next start
	}
}

func isSum(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == 32
}

// keep makes the verified content of f, which is the file at from, the whole file of sum.
func (d *disk) keep(f *os.File, from, sum string) error {
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(from, d.whole(sum)); err != nil {
		return err
	}
	return syncDir(filepath.Join(d.dir, "sha256"))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

// free is how many bytes the store may still write.
func (d *disk) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail)*st.Bsize - d.reserve, nil
}

// identity tells one version of a file from the next.
type identity struct {
	Dev, Ino     uint64
	Size         int64
	Mtime, Ctime int64 // ns
}

func identify(path string) (identity, error) {
	st, err := os.Stat(path)
	if err != nil {
		return identity{}, err
	}
	return identityOf(st)
}

func identityOf(st os.FileInfo) (identity, error) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.Mode().IsRegular() {
		return identity{}, errors.New("not a file")
	}
	return identity{sys.Dev, sys.Ino, sys.Size, sys.Mtim.Nano(), sys.Ctim.Nano()}, nil
}

// diskFailure says what the disk has against a write.
func diskFailure(err error) *failure {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return full(0, 0)
	case errors.Is(err, unix.EROFS):
		return &failure{state: Failed, text: "the helper's state folder is on a read-only file system; mount it writable"}
	case errors.Is(err, os.ErrPermission):
		return &failure{state: Failed, text: "the helper may not write its state folder; give it to the user that helperd runs as"}
	}
	return &failure{state: Failed, text: fmt.Sprintf("the helper's disk gives an error: %v; see its kernel log", files.Cause(err))}
}

// full says how many bytes are missing of the need; 0: nobody knows.
func full(missing, need int64) *failure {
	space := "some more space"
	if missing > 0 {
		space = human.Size(missing) + " more"
	}
	return &failure{state: DiskFull, text: "the helper's disk is full: " + space + " must be free in the file system of its state folder; it goes on by itself then", need: need}
}
