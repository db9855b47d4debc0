package iso

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"helperd/internal/iso9660"
)

const (
	ignitionHeader = 32744 // bytes; the last 24 of the system area
	kargsHeader    = ignitionHeader - 72
	kargsOffsets   = 6 // in the header

	maxLoaders = 16 // boot loaders of one ISO

	maxJSON     = 64 << 10 // bytes of a file in /coreos
	maxKargs    = 16 << 10 // bytes of an area; coreos-installer takes 2 KiB
	maxIgnition = 16 << 20 // bytes of the area; CoreOS reserves 256 KiB
)

// Layout is where an ISO may be written to.
type Layout struct {
	ignition area
	kargs    []kargsArea
	args     string // kernel arguments that it has
	config   bool   // its installer reads /etc/coreos/installer.d
}

// area is a range of bytes.
type area struct{ offset, length int64 }

// kargsArea is where a boot loader's configuration has the kernel arguments:
// then comes end, and the rest is filled with pad.
type kargsArea struct {
	area
	end, pad byte
}

// ReadLayout finds the areas of the ISO of size bytes in r. The error says what
// is wrong with the file, and which to take instead.
func ReadLayout(r io.ReaderAt, size int64) (*Layout, error) {
	image, err := iso9660.Open(r, size)
	if err != nil {
		return nil, err
	}
	l := &Layout{}
	for _, part := range []func(*iso9660.Image, io.ReaderAt) error{l.findIgnition, l.findKargs, l.findFeatures} {
		if err := part(image, r); err != nil {
			return nil, err
		}
	}
	for _, a := range l.areas() {
		if a.offset < 0 || a.length < 0 || a.offset > size-a.length {
			return nil, fmt.Errorf("the ISO names an area of %d bytes at %d, beyond its end: it is not whole", a.length, a.offset)
		}
	}
	if err := l.readArgs(r); err != nil {
		return nil, err
	}
	return l, l.pristine(r)
}

func (l *Layout) areas() []area {
	out := []area{l.ignition}
	for _, k := range l.kargs {
		out = append(out, k.area)
	}
	return out
}

// readJSON reads a file in /coreos; ok is false when there is none.
func readJSON(image *iso9660.Image, name string, v any) (ok bool, err error) {
	b, err := image.ReadFile(name, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return false, fmt.Errorf("%s of the ISO: %w", name, err)
	}
	return true, nil
}

func (l *Layout) findIgnition(image *iso9660.Image, r io.ReaderAt) error {
	var info struct {
		File           string
		Offset, Length int64
	}
	named, err := readJSON(image, "coreos/igninfo.json", &info)
	if err != nil {
		return err
	}
	if !named {
		info.File = "images/ignition.img"
	}
	f, err := image.Find(info.File)
	switch {
	case err == nil && !f.Folder && info.Offset >= 0 && info.Offset <= f.Size:
		length := f.Size - info.Offset
		if info.Length > 0 {
			length = min(length, info.Length)
		}
		l.ignition = area{f.Offset + info.Offset, length}
	case named:
		return fmt.Errorf("the ISO says that %s is for ignition, and that file is not there", info.File)
	default:
		var h [24]byte
		if _, err := r.ReadAt(h[:], ignitionHeader); err != nil || string(h[:8]) != "coreiso+" {
			return errors.New("the ISO has no place for an ignition file: it is no live ISO of CoreOS 4.6 or later; take rhcos-live.ARCH.iso or rhcos-VERSION-live-iso.ARCH.iso of the release")
		}
		l.ignition = area{int64(binary.LittleEndian.Uint64(h[8:])), int64(binary.LittleEndian.Uint64(h[16:]))}
	}
	if l.ignition.length < 1 || l.ignition.length > maxIgnition {
		return fmt.Errorf("the ISO has a place of %d bytes for ignition, which is no sensible size", l.ignition.length)
	}
	return nil
}

func (l *Layout) findKargs(image *iso9660.Image, r io.ReaderAt) error {
	var info struct {
		Size  int64
		Files []struct {
			Path     string
			Offset   int64
			Pad, End string
		}
	}
	ok, err := readJSON(image, "coreos/kargs.json", &info)
	if err != nil {
		return err
	}
	if !ok {
		return l.findOldKargs(r)
	}
	for _, f := range info.Files[:min(len(info.Files), maxLoaders)] {
		file, err := image.Find(f.Path)
		if err != nil {
			return fmt.Errorf("boot loader configuration of the ISO: %w", err)
		}
		if f.Offset < 0 || f.Offset > file.Size-info.Size {
			return fmt.Errorf("the area for kernel arguments is not inside %s of the ISO", f.Path)
		}
		a := kargsArea{area: area{file.Offset + f.Offset, info.Size}, end: '\n', pad: '#'}
		if len(f.Pad) == 1 {
			a.pad = f.Pad[0]
		}
		if len(f.End) == 1 {
			a.end = f.End[0]
		}
		l.kargs = append(l.kargs, a)
	}
	return l.checkKargs()
}

// findOldKargs reads the header of the ISOs before there was a kargs.json.
func (l *Layout) findOldKargs(r io.ReaderAt) error {
	var h [72]byte
	if _, err := r.ReadAt(h[:], kargsHeader); err != nil || string(h[:8]) != "coreKarg" {
		return errors.New("the ISO has no place for kernel arguments: those built before 2021 have none; take the live ISO of a later release")
	}
	length := int64(binary.LittleEndian.Uint64(h[8:]))
	for i := range kargsOffsets {
		if offset := int64(binary.LittleEndian.Uint64(h[24+8*i:])); offset != 0 {
			l.kargs = append(l.kargs, kargsArea{area: area{offset, length}, end: '\n', pad: '#'})
		}
	}
	return l.checkKargs()
}

func (l *Layout) checkKargs() error {
	if len(l.kargs) == 0 || l.kargs[0].length < 1 || l.kargs[0].length > maxKargs {
		return errors.New("the ISO names no sensible place for kernel arguments: it is not whole, or not of CoreOS")
	}
	return nil
}

// findFeatures looks what the installer in the ISO can do.
func (l *Layout) findFeatures(image *iso9660.Image, _ io.ReaderAt) error {
	var features struct {
		InstallerConfig bool `json:"installer-config"`
	}
	_, err := readJSON(image, "coreos/features.json", &features)
	l.config = features.InstallerConfig
	return err
}

// readArgs reads the kernel arguments, which all boot loaders have alike.
func (l *Layout) readArgs(r io.ReaderAt) error {
	for i, k := range l.kargs {
		b := make([]byte, k.length)
		if _, err := r.ReadAt(b, k.offset); err != nil {
			return fmt.Errorf("kernel arguments of the ISO: %w", err)
		}
		args := strings.TrimSpace(string(bytes.TrimRight(bytes.TrimRight(b, string(k.pad)), string(k.end))))
		if i > 0 && args != l.args {
			return errors.New("the boot loaders of the ISO have different kernel arguments: it was changed by hand; take the one of the release")
		}
		l.args = args
	}
	return nil
}

// pristine says when somebody has put a configuration into the ISO before us.
func (l *Layout) pristine(r io.ReaderAt) error {
	b := make([]byte, l.ignition.length)
	if _, err := r.ReadAt(b, l.ignition.offset); err != nil {
		return fmt.Errorf("ignition area of the ISO: %w", err)
	}
	if bytes.ContainsFunc(b, func(r rune) bool { return r != 0 }) {
		return errors.New("the ISO has an ignition file already: take the one of the release, or run `coreos-installer iso reset` on it")
	}
	return nil
}
