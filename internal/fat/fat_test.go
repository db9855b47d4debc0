package fat_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"helperd/internal/fat"
	"helperd/internal/liveiso"
)

func contents() map[string][]byte {
	big := make([]byte, 300_001)
	for i := range big {
		big[i] = byte(i * 7 >> 3)
	}
	files := map[string][]byte{"EFI/BOOT/BOOTX64.EFI": big, "EFI/redhat/grubx64.efi": []byte("grub"), "EFI/redhat/empty.cfg": {}, "root.txt": []byte("root")}
	for i := range 100 {
		files[fmt.Sprintf("many/f%d.txt", i)] = fmt.Appendf(nil, "file %d", i)
	}
	return files
}

// What mtools wrote is read, whatever the kind.
func TestRead(t *testing.T) {
	for bits, size := range map[int]int{12: 8 << 20, 16: 20 << 20, 32: 64 << 20} {
		t.Run(fmt.Sprint("FAT", bits), func(t *testing.T) {
			b := liveiso.FAT(t, size, bits, contents())
			v, err := fat.Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range contents() {
				if got, err := v.ReadFile(strings.ToUpper(name), 1<<20); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, want %d: %v", name, len(got), len(want), err)
				}
			}
			folders, err := v.Folders("efi")
			slices.Sort(folders)
			if err != nil || !slices.Equal(folders, []string{"BOOT", "REDHAT"}) {
				t.Errorf("folders %q, %v", folders, err)
			}
			for _, name := range []string{"nothing", "EFI/nothing", "root.txt/file"} {
				if _, err := v.ReadFile(name, 100); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, name := range []string{"EFI", "", "EFI/BOOT/BOOTX64.EFI", strings.Repeat("a/", 50)} {
				if _, err := v.ReadFile(name, 100); err == nil {
					t.Errorf("%q was read", name)
				}
			}
		})
	}
}

func TestBroken(t *testing.T) {
	good := liveiso.FAT(t, 8<<20, 12, contents())
	if _, err := fat.Open(bytes.NewReader(good[:1<<20]), 1<<20); err == nil || !strings.Contains(err.Error(), "not whole") {
		t.Errorf("half of it: %v", err)
	}
	for name, b := range map[string][]byte{"nothing": nil, "zeros": make([]byte, 4096), "text": bytes.Repeat([]byte("text"), 1000)} {
		if _, err := fat.Open(bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	// A table that points in circles, and out of the volume.
	for name, value := range map[string]byte{"circle": 0, "outside": 0xee} {
		b := bytes.Clone(good)
		table := int(b[14]) * 512
		for i := range 6000 {
			b[table+3+i] = value
		}
		if name == "circle" { // each entry names cluster 2
			for c := 2; c < 3000; c += 2 {
				copy(b[table+c*3/2:], []byte{0x02, 0x20, 0x00})
			}
		}
		v, err := fat.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.ReadFile("EFI/BOOT/BOOTX64.EFI", 1<<20); err == nil {
			t.Errorf("%s: it was read", name)
		}
		if _, err := v.Folders("many"); err == nil {
			t.Errorf("%s: a folder was read", name)
		}
	}
}

func FuzzVolume(f *testing.F) {
	f.Add(seed(), "A/B.TXT")
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		v, err := fat.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if c, err := v.ReadFile(path, 1000); err == nil && len(c) > 1000 {
			t.Errorf("%d bytes", len(c))
		}
		_, _ = v.Folders(path)
	})
}

// seed is a FAT12 volume of 20 sectors by hand, with a folder A and in it B.TXT.
func seed() []byte {
	b := make([]byte, 20*512)
	b[12], b[13], b[14], b[16], b[17], b[19], b[22] = 2, 1, 1, 1, 16, 20, 1
	b[510], b[511] = 0x55, 0xaa
	copy(b[512:], []byte{0xf8, 0xff, 0xff, 0xff, 0xff, 0xff}) // clusters 2 and 3 end at once
	entry := func(at int, name string, attr, first, size byte) {
		copy(b[at:], name)
		b[at+11], b[at+26], b[at+28] = attr, first, size
	}
	entry(2*512, "A          ", 0x10, 2, 0)
	entry(3*512, "B       TXT", 0, 3, 4)
	copy(b[4*512:], "here")
	return b
}

func TestSeed(t *testing.T) {
	b := seed()
	v, err := fat.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := v.ReadFile("a/b.txt", 10); err != nil || string(c) != "here" {
		t.Errorf("%q, %v", c, err)
	}
}
