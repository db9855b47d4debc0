// Package liveiso builds, for tests, ISOs that are laid out as the live ISOs of
// CoreOS are: with the areas that coreos-assembler reserves (cmd-buildextend-live)
// for coreos-installer. It needs xorriso, and mtools for those with loaders for UEFI.
package liveiso

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"helperd/internal/netns"
)

const (
	// Args are the kernel arguments of the ISO as it comes.
	Args = "mitigations=auto,nosmt coreos.liveiso=live-4.20 ignition.firstboot ignition.platform.id=metal"
	// Room is the size of the ignition area in bytes.
	Room = 256 << 10

	kargsSize = 1139 // bytes of each area for kernel arguments
)

// Options of an ISO. The zero value is one of 4.14 and later, with made-up content, that does not boot.
type Options struct {
	// Headers marks the areas by headers in the system area (4.8), and not by files in /coreos.
	Headers bool
	// Features is /coreos/features.json; empty: none.
	Features string
	// Kernel and Initramfs are files to boot by ISOLINUX; empty: made-up content.
	Kernel, Initramfs string
	// EFI are files of the EFI system partition, by their path in it, such as EFI/BOOT/BOOTX64.EFI.
	EFI map[string][]byte
	// Files are further files of the ISO by their path.
	Files map[string][]byte
	// LongNames keeps names longer than 8.3.
	LongNames bool
}

// Build writes the ISO to a folder of the test and gives its path.
func Build(t testing.TB, o Options) string {
	t.Helper()
	netns.Tools(t, "xorriso")
	tree, dir := t.TempDir(), t.TempDir()
	put := func(path string, content []byte) {
		path = filepath.Join(tree, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, content, 0o644))
	}
	put("images/pxeboot/vmlinuz", fromFile(t, o.Kernel, "kernel "))
	put("images/pxeboot/initrd.img", fromFile(t, o.Initramfs, "initramfs "))
	put("images/pxeboot/rootfs.img", []byte(strings.Repeat("rootfs ", 300_000)))
	put("images/ignition.img", make([]byte, Room))
	grub, grubAt := configuration("set timeout=0\nmenuentry live {\n  linux /images/pxeboot/vmlinuz ", "\n  initrd /images/pxeboot/initrd.img /images/ignition.img\n}\n")
	isolinux, isolinuxAt := configuration("default live\nprompt 0\ntimeout 1\nlabel live\n  kernel /images/pxeboot/vmlinuz\n"+
		"  append initrd=/images/pxeboot/initrd.img,/images/ignition.img ", "\n")
	put("EFI/redhat/grub.cfg", grub)
	put("isolinux/isolinux.cfg", isolinux)
	if o.Headers {
		put(".cmdline", []byte(padded()))
	} else {
		type place struct {
			Path   string `json:"path"`
			Offset int    `json:"offset"`
			Pad    string `json:"pad"`
			End    string `json:"end"`
		}
		put("coreos/igninfo.json", []byte(`{"file": "images/ignition.img"}`))
		info, err := json.Marshal(map[string]any{
			"default": Args, "size": kargsSize,
			"files": []place{{"EFI/redhat/grub.cfg", grubAt, "#", "\n"}, {"isolinux/isolinux.cfg", isolinuxAt, "#", "\n"}},
		})
		must(t, err)
		put("coreos/kargs.json", info)
	}
	if o.Features != "" {
		put("coreos/features.json", []byte(o.Features))
	}
	for path, content := range o.Files {
		put(path, content)
	}

	path := filepath.Join(dir, "live.iso")
	args := []string{"-as", "mkisofs", "-quiet", "-o", path, "-V", "live-4.20", "-R", "-J", "-joliet-long", "-iso-level", "1"}
	if o.LongNames {
		args[len(args)-1] = "3"
	}
	if o.Kernel != "" {
		put("isolinux/isolinux.bin", firstOf(t, "/usr/lib/ISOLINUX/isolinux.bin", "/usr/share/syslinux/isolinux.bin"))
		put("isolinux/ldlinux.c32", firstOf(t, "/usr/lib/syslinux/modules/bios/ldlinux.c32", "/usr/share/syslinux/ldlinux.c32"))
		args = append(args, "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
	}
	if o.EFI != nil {
		put("images/efiboot.img", FAT(t, 20<<20, 16, o.EFI))
		args = append(args, "-eltorito-alt-boot", "-e", "images/efiboot.img", "-no-emul-boot")
	}
	run(t, exec.Command("xorriso", append(args, tree)...))
	if o.Headers {
		writeHeaders(t, path, grubAt, isolinuxAt)
	}
	return path
}

func padded() string { return Args + "\n" + strings.Repeat("#", kargsSize-len(Args)-1) }

// configuration is that of a boot loader, with where the area in it begins.
func configuration(before, after string) (text []byte, at int) {
	return []byte(before + padded() + after), len(before)
}

// writeHeaders marks the areas as the ISOs before kargs.json did.
func writeHeaders(t testing.TB, path string, grubAt, isolinuxAt int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	h := []byte("coreKarg")
	for _, v := range []int64{
		kargsSize, Offset(t, path, "/.cmdline"),
		Offset(t, path, "/EFI/redhat/grub.cfg") + int64(grubAt), Offset(t, path, "/isolinux/isolinux.cfg") + int64(isolinuxAt), 0, 0, 0, 0,
	} {
		h = binary.LittleEndian.AppendUint64(h, uint64(v))
	}
	h = append(h, "coreiso+"...)
	h = binary.LittleEndian.AppendUint64(h, uint64(Offset(t, path, "/images/ignition.img")))
	h = binary.LittleEndian.AppendUint64(h, Room)
	_, err = f.WriteAt(h, 32<<10-int64(len(h)))
	must(t, err)
}

var lba = regexp.MustCompile(`File data lba: +\d+ , +(\d+) ,`)

// Offset is where a file begins in an ISO, as xorriso says.
func Offset(t testing.TB, iso, path string) int64 {
	t.Helper()
	out := run(t, exec.Command("xorriso", "-indev", iso, "-find", path, "-exec", "report_lba"))
	m := lba.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("xorriso does not say where %s is:\n%s", path, out)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	must(t, err)
	return n * 2048
}

// Extract gives a file of an ISO, as osirrox reads it.
func Extract(t testing.TB, iso, path string) []byte {
	t.Helper()
	netns.Tools(t, "osirrox")
	to := filepath.Join(t.TempDir(), "file")
	run(t, exec.Command("osirrox", "-indev", iso, "-extract", path, to))
	b, err := os.ReadFile(to)
	must(t, err)
	return b
}

// FAT is a volume of size bytes with FAT12, FAT16 or FAT32 and these files by path.
func FAT(t testing.TB, size, bits int, files map[string][]byte) []byte {
	t.Helper()
	netns.Tools(t, "mformat", "mcopy", "mmd")
	dir := t.TempDir()
	path := filepath.Join(dir, "fat.img")
	args := []string{"-i", path, "-C", "-T", fmt.Sprint(size / 512), "-h", "16", "-s", "32"}
	switch bits {
	case 12:
		args = append(args, "-c", "16")
	case 16:
		args = append(args, "-c", "4")
	case 32:
		args = append(args, "-c", "1", "-F")
	}
	run(t, exec.Command("mformat", append(args, "::")...))
	made := map[string]bool{".": true}
	for name, content := range files {
		var folder string
		for _, part := range strings.Split(filepath.Dir(name), "/") {
			if folder = filepath.Join(folder, part); !made[folder] {
				run(t, exec.Command("mmd", "-i", path, "::"+folder))
				made[folder] = true
			}
		}
		from := filepath.Join(dir, "file")
		must(t, os.WriteFile(from, content, 0o644))
		run(t, exec.Command("mcopy", "-i", path, from, "::"+name))
	}
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func fromFile(t testing.TB, path, otherwise string) []byte {
	t.Helper()
	if path == "" {
		return []byte(strings.Repeat(otherwise, 20_000))
	}
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func firstOf(t testing.TB, paths ...string) []byte {
	t.Helper()
	for _, p := range paths {
		if b, err := os.ReadFile(p); err == nil {
			return b
		}
	}
	netns.SkipOrFail(t, paths[0]+" is not there: see test/packages.sh")
	return nil
}

func run(t testing.TB, c *exec.Cmd) string {
	t.Helper()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
	return string(out)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
