// Package iso9660 finds files in an ISO image (ECMA-119) without mounting it.
//
// It trusts nothing in the image: every offset is checked, and no look-up reads
// more than its limits. Rock Ridge and Joliet are passed over: a name matches
// without regard to case, and also as the 8.3 name that some writers cut it to.
package iso9660

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

const (
	// Sector is the size of a logical sector and, here, of a block, in bytes.
	Sector = 2048

	firstDescriptor = 16 // sector; before it is the system area
	maxDescriptors  = 32
	maxFolder       = 1 << 20 // bytes of one folder's records
	maxDepth        = 16      // names in a path
)

// Image is an ISO image.
type Image struct {
	r    io.ReaderAt
	size int64
	root File
}

// File is where a file or folder lies.
type File struct {
	Name   string // without version
	Offset int64  // in bytes from the start of the image
	Size   int64  // in bytes
	Folder bool
}

// Open reads the volume descriptors of the image of size bytes in r.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	m := &Image{r: r, size: size}
	var d [Sector]byte
	for i := range int64(maxDescriptors) {
		if _, err := r.ReadAt(d[:], (firstDescriptor+i)*Sector); err != nil {
			return nil, fmt.Errorf("not an ISO image: %w", short(err))
		}
		if string(d[1:6]) != "CD001" {
			return nil, fmt.Errorf("not an ISO image: there is no volume descriptor in sector %d", firstDescriptor+i)
		}
		switch d[0] {
		case 1: // primary; section 8.4
			if block := binary.LittleEndian.Uint16(d[128:]); block != Sector {
				return nil, fmt.Errorf("ISO image with blocks of %d bytes, not %d", block, Sector)
			}
			root, ok := record(d[156:190])
			if !ok || !root.Folder {
				return nil, fmt.Errorf("ISO image without a root folder")
			}
			m.root = root.File
			return m, m.within(root.File)
		case 255: // terminator
			return nil, fmt.Errorf("ISO image without a primary volume descriptor")
		}
	}
	return nil, fmt.Errorf("ISO image with more than %d volume descriptors", maxDescriptors)
}

// Find looks up a file or folder by its path, such as images/efiboot.img. The
// error is fs.ErrNotExist when there is none.
func (m *Image) Find(path string) (File, error) {
	at := m.root
	names := split(path)
	if len(names) > maxDepth {
		return File{}, fmt.Errorf("%s: more than %d folders deep", path, maxDepth)
	}
	for _, name := range names {
		if !at.Folder {
			return File{}, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		next, err := m.in(at, name)
		if err != nil {
			return File{}, fmt.Errorf("%s: %w", path, err)
		}
		at = next
	}
	return at, nil
}

// ReadFile gives a file of at most limit bytes.
func (m *Image) ReadFile(path string, limit int64) ([]byte, error) {
	f, err := m.Find(path)
	switch {
	case err != nil:
		return nil, err
	case f.Folder:
		return nil, fmt.Errorf("%s: a folder", path)
	case f.Size > limit:
		return nil, fmt.Errorf("%s: %d bytes, more than %d", path, f.Size, limit)
	}
	b := make([]byte, f.Size)
	if _, err := m.r.ReadAt(b, f.Offset); err != nil {
		return nil, fmt.Errorf("%s: %w", path, short(err))
	}
	return b, nil
}

// Folders gives the names of the folders in a folder.
func (m *Image) Folders(path string) ([]string, error) {
	f, err := m.Find(path)
	if err != nil {
		return nil, err
	}
	var out []string
	err = m.each(f, func(e entry) bool {
		if e.Folder {
			out = append(out, e.Name)
		}
		return true
	})
	return out, err
}

// in finds name in a folder: the whole name before the shortened one.
func (m *Image) in(folder File, name string) (File, error) {
	var found, cut *entry
	err := m.each(folder, func(e entry) bool {
		switch {
		case strings.EqualFold(e.Name, name):
			found = &e
		case cut == nil && strings.EqualFold(e.Name, shortened(name)):
			cut = &e
		}
		return found == nil
	})
	if err != nil {
		return File{}, err
	}
	if found == nil {
		found = cut
	}
	switch {
	case found == nil:
		return File{}, fs.ErrNotExist
	case found.parts:
		return File{}, fmt.Errorf("it lies in several extents, which is not read here")
	}
	return found.File, m.within(found.File)
}

// each calls yield with what is in a folder until it returns false.
func (m *Image) each(folder File, yield func(entry) bool) error {
	if !folder.Folder || folder.Size > maxFolder {
		return fmt.Errorf("a folder of %d bytes", folder.Size)
	}
	b := make([]byte, folder.Size)
	if _, err := m.r.ReadAt(b, folder.Offset); err != nil {
		return short(err)
	}
	for len(b) > 0 {
		// Records do not cross sectors; what is left of one is zero (section 6.8.1.1).
		sector := b[:min(len(b), Sector)]
		b = b[len(sector):]
		for len(sector) > 0 && sector[0] != 0 {
			n := int(sector[0])
			if n > len(sector) {
				return fmt.Errorf("a directory record that crosses its sector")
			}
			e, ok := record(sector[:n])
			if !ok {
				return fmt.Errorf("a directory record of %d bytes that does not hold its name", n)
			}
			sector = sector[n:]
			if e.Name != "" && !yield(e) { // the folder itself and the one above have no name
				return nil
			}
		}
	}
	return nil
}

// within reports a file that is not inside the image.
func (m *Image) within(f File) error {
	if f.Offset > m.size || f.Size > m.size-f.Offset {
		return fmt.Errorf("%d bytes at %d are beyond the end of the ISO image, which has %d; it is not whole", f.Size, f.Offset, m.size)
	}
	return nil
}

type entry struct {
	File
	parts bool // one of several extents
}

// record reads a directory record (section 9.1).
func record(b []byte) (e entry, ok bool) {
	if len(b) < 34 || 33+int(b[32]) > len(b) {
		return entry{}, false
	}
	first := int64(binary.LittleEndian.Uint32(b[2:])) + int64(b[1]) // after an extended attribute record
	e.Offset, e.Size = first*Sector, int64(binary.LittleEndian.Uint32(b[10:]))
	e.Folder, e.parts = b[25]&0x02 != 0, b[25]&0x80 != 0
	name := b[33 : 33+int(b[32])]
	if len(name) == 1 && name[0] <= 1 {
		return e, true
	}
	name, _, _ = bytes.Cut(name, []byte{';'})
	e.Name = strings.TrimSuffix(string(name), ".")
	return e, true
}

// shortened is name as 8.3: genisoimage without -l makes KARGS.JSO of kargs.json.
func shortened(name string) string {
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		base, ext = name[:i], name[i+1:]
	}
	base, ext = base[:min(len(base), 8)], ext[:min(len(ext), 3)]
	if ext == "" {
		return base
	}
	return base + "." + ext
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// short says what the end of the file means here.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
