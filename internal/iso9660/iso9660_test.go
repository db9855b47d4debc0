package iso9660_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"helperd/internal/iso9660"
	"helperd/internal/liveiso"
)

func open(t *testing.T, path string) (*iso9660.Image, []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := iso9660.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return m, b
}

// many are files enough that their folder crosses sectors.
func many() map[string][]byte {
	files := map[string][]byte{"deep/er/and/deeper/still/file.txt": []byte("down here"), "empty.txt": nil}
	for i := range 200 {
		files[fmt.Sprintf("many/f%d.dat", i)] = fmt.Appendf(nil, "content %d", i)
	}
	return files
}

// What xorriso wrote is found where xorriso says, with short names and with long ones.
func TestFind(t *testing.T) {
	for _, long := range []bool{false, true} {
		t.Run(fmt.Sprintf("long names %v", long), func(t *testing.T) {
			path := liveiso.Build(t, liveiso.Options{LongNames: long, Features: "{}", Files: many()})
			m, _ := open(t, path)
			for name, content := range many() {
				if b, err := m.ReadFile(name, 1<<20); err != nil || string(b) != string(content) {
					t.Errorf("%s: %q, %v", name, b, err)
				}
			}
			for _, name := range []string{"images/ignition.img", "/coreos/kargs.json", "coreos/features.json", "EFI/redhat/grub.cfg", "isolinux/isolinux.cfg"} {
				f, err := m.Find(name)
				if want := liveiso.Offset(t, path, "/"+strings.TrimPrefix(name, "/")); err != nil || f.Offset != want {
					t.Errorf("%s at %d, want %d: %v", name, f.Offset, want, err)
				}
			}
			folders, err := m.Folders("")
			slices.Sort(folders)
			want := []string{"COREOS", "DEEP", "EFI", "IMAGES", "ISOLINUX", "MANY"}
			for i := range folders {
				folders[i] = strings.ToUpper(folders[i])
			}
			if err != nil || !slices.Equal(folders, want) {
				t.Errorf("folders %q, %v", folders, err)
			}
		})
	}
}

func TestNotFound(t *testing.T) {
	m, _ := open(t, liveiso.Build(t, liveiso.Options{}))
	for _, name := range []string{"nothing", "images/nothing.img", "images/ignition.img/more", "nowhere/file", "..", "images/../images"} {
		if _, err := m.Find(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"images":                  "a folder",
		"images/ignition.img":     "more than 100",
		strings.Repeat("a/", 100): "folders deep",
	} {
		if _, err := m.ReadFile(name, 100); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v, want %q", name, err, want)
		}
	}
}

func TestNoISO(t *testing.T) {
	_, b := open(t, liveiso.Build(t, liveiso.Options{}))
	edit := func(f func(b []byte)) []byte {
		c := bytes.Clone(b)
		f(c)
		return c
	}
	const descriptor, rootRecord = 16 * 2048, 16*2048 + 156
	for name, tt := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":                  {nil, "not an ISO image"},
		"zeros":                  {make([]byte, 1<<20), "no volume descriptor"},
		"cut off in the header":  {b[:33_000], "not an ISO image"},
		"blocks of another size": {edit(func(b []byte) { b[descriptor+128] = 4 }), "blocks of"},
		"root is no folder":      {edit(func(b []byte) { b[rootRecord+25] = 0 }), "root folder"},
		"root beyond the end":    {edit(func(b []byte) { b[rootRecord+5] = 0x7f }), "beyond the end"},
		"terminator first":       {edit(func(b []byte) { b[descriptor] = 255 }), "without a primary"},
		"descriptors for ever":   {edit(func(b []byte) { copyOver(b) }), "more than"},
	} {
		if _, err := iso9660.Open(bytes.NewReader(tt.b), int64(len(tt.b))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	// A download that broke off: what lies behind the end is said, not read as zeros.
	short := b[:len(b)/2]
	m, err := iso9660.Open(bytes.NewReader(short), int64(len(short)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Find("images/pxeboot/rootfs.img"); err == nil || !strings.Contains(err.Error(), "not whole") {
		t.Errorf("a file beyond the end: %v", err)
	}
}

// copyOver makes all descriptors supplementary ones.
func copyOver(b []byte) {
	for i := 16; i < 64; i++ {
		copy(b[i*2048:], b[16*2048:17*2048])
		b[i*2048] = 2
	}
}

func FuzzImage(f *testing.F) {
	b := seed()
	f.Add(b, "a/kargs.json")
	f.Add(b, "A")
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		m, err := iso9660.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if at, err := m.Find(path); err == nil && (at.Offset < 0 || at.Size < 0 || at.Offset+at.Size > int64(len(b))) {
			t.Errorf("%q is %+v of %d bytes", path, at, len(b))
		}
		if c, err := m.ReadFile(path, 1000); err == nil && len(c) > 1000 {
			t.Errorf("%d bytes", len(c))
		}
		_, _ = m.Folders(path)
	})
}

// seed is a small ISO by hand: a folder A with KARGS.JSO.
func seed() []byte {
	b := make([]byte, 21*2048)
	record := func(at, sector, size int, folder byte, name string) int {
		n := 33 + len(name) + (1 - len(name)%2)
		b[at], b[at+2], b[at+10], b[at+11], b[at+25], b[at+32] = byte(n), byte(sector), byte(size), byte(size>>8), folder, byte(len(name))
		copy(b[at+33:], name)
		return at + n
	}
	pvd := 16 * 2048
	copy(b[pvd:], "\x01CD001\x01")
	b[pvd+129] = 8
	record(pvd+156, 18, 2048, 2, "\x00")
	copy(b[17*2048:], "\xffCD001\x01")
	next := record(18*2048, 18, 2048, 2, "\x00")
	next = record(next, 18, 2048, 2, "\x01")
	record(next, 19, 2048, 2, "A")
	next = record(19*2048, 19, 2048, 2, "\x00")
	next = record(next, 18, 2048, 2, "\x01")
	record(next, 20, 4, 0, "KARGS.JSO;1")
	copy(b[20*2048:], "here")
	return b
}

func TestSeed(t *testing.T) {
	b := seed()
	m, err := iso9660.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := m.ReadFile("a/kargs.json", 10); err != nil || string(c) != "here" {
		t.Errorf("%q, %v", c, err)
	}
}
