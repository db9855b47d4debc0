package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/fat"
	"helperd/internal/files"
	"helperd/internal/iso9660"
	"helperd/plan"
)

// maxVendorLoader in bytes is far above shim (1 MB) and GRUB (4 MB).
const maxVendorLoader = 16 << 20

// Vendor reads the boot loaders that a vendor's ISO brings, for Secure Boot. It
// remembers what it read until the ISO changes. The zero value is ready.
type Vendor struct {
	mu   sync.Mutex
	read map[vendorKey]vendorFile
}

type vendorKey struct {
	iso    string
	loader plan.Loader
}

type vendorFile struct {
	inode   uint64
	size    int64
	changed time.Time
	body    []byte
	err     error
}

// Loader gives the loader l that is inside the ISO at the path iso, and when the
// ISO was written. The error says what is missing and what to do; it names no path.
func (v *Vendor) Loader(iso string, l plan.Loader) ([]byte, time.Time, error) {
	f, err := os.OpenFile(iso, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("the ISO with %s: %w; put it where `loader` says, readable for helperd; it is served at once", l, files.Cause(err))
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, files.Cause(err)
	}
	if !st.Mode().IsRegular() {
		return nil, time.Time{}, fmt.Errorf("the ISO with %s is not a file; write its path as `loader`", l)
	}
	now := vendorFile{size: st.Size(), changed: st.ModTime()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		now.inode = sys.Ino
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	k := vendorKey{iso, l}
	if have, ok := v.read[k]; ok && have.inode == now.inode && have.size == now.size && have.changed.Equal(now.changed) {
		return have.body, have.changed, have.err
	}
	now.body, now.err = inside(f, st.Size(), l)
	if v.read == nil {
		v.read = map[vendorKey]vendorFile{}
	}
	v.read[k] = now
	return now.body, now.changed, now.err
}

// volume is a file system that is read and not mounted.
type volume interface {
	Folders(path string) ([]string, error)
	ReadFile(path string, limit int64) ([]byte, error)
}

// efiImages are where ISOs have the EFI system partition that firmware boots:
// the live ISO of CoreOS has its loaders in there alone.
var efiImages = []string{"images/efiboot.img", "boot/grub/efi.img"}

// fallbackNames are what firmware starts when nothing else is said (UEFI
// section 3.5.1.1); on a vendor's ISO that is shim.
var fallbackNames = map[plan.Loader]string{plan.Shim64: "BOOTX64.EFI", plan.ShimAA64: "BOOTAA64.EFI"}

func inside(r io.ReaderAt, size int64, l plan.Loader) ([]byte, error) {
	image, err := iso9660.Open(r, size)
	if err != nil {
		return nil, fmt.Errorf("loader: %w; write the path of the vendor's ISO", err)
	}
	volumes := []volume{image}
	for _, name := range efiImages {
		f, err := image.Find(name)
		if err != nil {
			continue
		}
		v, err := fat.Open(io.NewSectionReader(r, f.Offset, f.Size), f.Size)
		if err != nil {
			return nil, fmt.Errorf("loader: %s of the ISO: %w; fetch the ISO anew", name, err)
		}
		volumes = append(volumes, v)
	}
	for _, t := range volumes {
		body, err := pick(t, l)
		if !errors.Is(err, fs.ErrNotExist) {
			return body, err
		}
	}
	return nil, fmt.Errorf("there is no %s on the ISO that `loader` names: take the one of the kernel's vendor, such as the live ISO of the same release", l)
}

// pick finds l in the vendors' folders below EFI, and in EFI/BOOT last.
func pick(t volume, l plan.Loader) ([]byte, error) {
	folders, err := t.Folders("EFI")
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(folders, func(a, b string) int { return isBoot(a) - isBoot(b) })
	for _, folder := range folders {
		for _, name := range []string{string(l), fallbackNames[l]} {
			if name == "" {
				continue
			}
			body, err := t.ReadFile("EFI/"+folder+"/"+name, maxVendorLoader)
			if !errors.Is(err, fs.ErrNotExist) {
				return body, err
			}
		}
	}
	return nil, fs.ErrNotExist
}

func isBoot(folder string) int {
	if strings.EqualFold(folder, "BOOT") {
		return 1
	}
	return 0
}
