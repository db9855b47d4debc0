// Package fat reads files out of a FAT volume (FAT12, FAT16, FAT32), such as the
// EFI system partition in an ISO image, without mounting it.
//
// It trusts nothing in the volume: every cluster is checked, and no chain is
// followed for longer than the volume has clusters. Names are those of 8.3, without regard
// to case; long names are passed over.
package fat

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

const (
	entrySize = 32
	maxFolder = 1 << 20 // bytes of one folder's entries
	maxDepth  = 16      // names in a path

	attrVolume = 0x08 // also of the parts of a long name
	attrFolder = 0x10
)

// Volume is a FAT volume.
type Volume struct {
	r        io.ReaderAt
	bits     int   // of a table entry: 12, 16, 32
	table    int64 // offset of the first table in bytes
	root     int64 // offset of the root folder in bytes; FAT32: unused
	rootSize int64 // in bytes; FAT32: 0
	start    entry // FAT32: the root folder
	data     int64 // offset of cluster 2 in bytes
	cluster  int64 // bytes
	clusters int64
}

type entry struct {
	name   string
	first  int64 // cluster
	size   int64 // bytes; of folders 0
	folder bool
}

// Open reads the boot sector of the volume of size bytes in r.
func Open(r io.ReaderAt, size int64) (*Volume, error) {
	var b [512]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return nil, fmt.Errorf("not a FAT volume: %w", err)
	}
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(b[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }
	either := func(small, large int64) int64 {
		if small != 0 {
			return small
		}
		return large
	}
	sector, perCluster, reserved, tables := u16(11), int64(b[13]), u16(14), int64(b[16])
	total, tableSize := either(u16(19), u32(32)), either(u16(22), u32(36))
	if b[510] != 0x55 || b[511] != 0xaa || sector < 512 || sector > 4096 || sector&(sector-1) != 0 ||
		perCluster == 0 || perCluster&(perCluster-1) != 0 || reserved == 0 || tables == 0 || tables > 4 {
		return nil, fmt.Errorf("not a FAT volume")
	}
	v := &Volume{r: r, table: reserved * sector, rootSize: u16(17) * entrySize, cluster: perCluster * sector}
	v.root = v.table + tables*tableSize*sector
	v.data = (v.root + v.rootSize + sector - 1) / sector * sector
	v.clusters = (total*sector - v.data) / v.cluster
	if total*sector > size || v.clusters < 1 {
		return nil, fmt.Errorf("a FAT volume of %d bytes in %d bytes: it is not whole", total*sector, size)
	}
	// The number of clusters, and nothing else, tells the kinds apart.
	switch {
	case v.clusters < 4085:
		v.bits = 12
	case v.clusters < 65525:
		v.bits = 16
	default:
		v.bits, v.start = 32, entry{first: u32(44), folder: true}
	}
	if (v.clusters+2)*int64(v.bits)/8 > tableSize*sector {
		return nil, fmt.Errorf("a FAT volume whose table does not hold its %d clusters", v.clusters)
	}
	return v, nil
}

// ReadFile gives a file of at most limit bytes. The error is fs.ErrNotExist when there is none.
func (v *Volume) ReadFile(path string, limit int64) ([]byte, error) {
	e, err := v.find(path)
	if err == nil && (e == nil || e.folder) {
		err = fmt.Errorf("a folder")
	}
	if err == nil && e.size > limit {
		err = fmt.Errorf("%d bytes, more than %d", e.size, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	b, err := v.chain(e.first, e.size)
	if err == nil && int64(len(b)) < e.size {
		err = fmt.Errorf("its clusters hold %d of %d bytes", len(b), e.size)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// Folders gives the names of the folders in a folder.
func (v *Volume) Folders(path string) ([]string, error) {
	e, err := v.find(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	list, err := v.list(e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []string
	for _, e := range list {
		if e.folder && e.name != "." && e.name != ".." {
			out = append(out, e.name)
		}
	}
	return out, nil
}

// find looks up a path; nil is the root folder.
func (v *Volume) find(path string) (*entry, error) {
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(names) > maxDepth {
		return nil, fmt.Errorf("more than %d folders deep", maxDepth)
	}
	var at *entry
	for _, name := range names {
		list, err := v.list(at)
		if err != nil {
			return nil, err
		}
		at = nil
		for i := range list {
			if strings.EqualFold(list[i].name, name) {
				at = &list[i]
				break
			}
		}
		if at == nil {
			return nil, fs.ErrNotExist
		}
	}
	return at, nil
}

// list gives what is in a folder.
func (v *Volume) list(folder *entry) ([]entry, error) {
	var b []byte
	var err error
	switch {
	case folder == nil && v.bits != 32:
		b = make([]byte, v.rootSize)
		_, err = v.r.ReadAt(b, v.root)
	case folder == nil:
		b, err = v.chain(v.start.first, maxFolder)
	case !folder.folder:
		return nil, fs.ErrNotExist
	default:
		b, err = v.chain(folder.first, maxFolder)
	}
	if err != nil {
		return nil, err
	}
	var out []entry
	for ; len(b) >= entrySize && b[0] != 0; b = b[entrySize:] {
		if attr := b[11]; b[0] != 0xe5 && attr&attrVolume == 0 { // 0xe5: deleted
			out = append(out, entry{
				name: shortName(b[:11]), folder: attr&attrFolder != 0,
				first: int64(binary.LittleEndian.Uint16(b[20:]))<<16 | int64(binary.LittleEndian.Uint16(b[26:])),
				size:  int64(binary.LittleEndian.Uint32(b[28:])),
			})
		}
	}
	return out, nil
}

func shortName(b []byte) string {
	name, ext := strings.TrimRight(string(b[:8]), " "), strings.TrimRight(string(b[8:11]), " ")
	if ext == "" {
		return name
	}
	return name + "." + ext
}

// chain reads the clusters from first on, at most n bytes.
func (v *Volume) chain(first, n int64) ([]byte, error) {
	var out []byte
	mask := int64(1)<<min(v.bits, 28) - 1 // four bits of FAT32 entries are reserved
	if v.bits != 32 {
		first &= 0xffff // the high half is of FAT32 alone
	}
	for c, left := first, v.clusters; int64(len(out)) < n; left-- {
		switch {
		case c >= mask-7: // the end of the chain
			return out, nil
		case c < 2 || c >= v.clusters+2:
			return nil, fmt.Errorf("cluster %d of %d", c, v.clusters)
		case left == 0:
			return nil, fmt.Errorf("clusters in a circle")
		}
		b := make([]byte, min(v.cluster, n-int64(len(out))))
		if _, err := v.r.ReadAt(b, v.data+(c-2)*v.cluster); err != nil {
			return nil, err
		}
		out = append(out, b...)
		next, err := v.next(c)
		if err != nil {
			return nil, err
		}
		c = next & mask
	}
	return out, nil
}

// next is the table's entry of cluster c.
func (v *Volume) next(c int64) (int64, error) {
	var b [4]byte
	width := int64(v.bits / 8) // 12 bits: the byte before the odd half is read along
	at := c * int64(v.bits) / 8
	if v.bits == 12 {
		width = 2
	}
	if _, err := v.r.ReadAt(b[:width], v.table+at); err != nil {
		return 0, err
	}
	n := int64(binary.LittleEndian.Uint32(b[:]))
	if v.bits == 12 && c&1 == 1 {
		n >>= 4
	}
	return n, nil
}
