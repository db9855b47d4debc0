package boot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"helperd/plan"
)

func tree(paths ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, p := range paths {
		fsys[p] = &fstest.MapFile{Data: []byte("x")}
	}
	return fsys
}

func TestFindLoaders(t *testing.T) {
	empty := tree("usr/lib/ipxe/undionly.kpxe")
	empty["usr/lib/ipxe/snponly.efi"] = &fstest.MapFile{}
	tests := []struct {
		name string
		fsys fstest.MapFS
		dirs []string
		want map[plan.Loader]string
	}{
		{"nothing", tree(), nil, map[plan.Loader]string{}},
		{
			"Debian",
			tree("usr/lib/ipxe/undionly.kpxe", "usr/lib/ipxe/snponly.efi", "usr/lib/PXELINUX/lpxelinux.0", "usr/lib/syslinux/modules/bios/ldlinux.c32",
				"usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "usr/lib/shim/shimx64.efi.signed", "boot/efi/EFI/debian/grubx64.efi"),
			nil,
			map[plan.Loader]string{
				plan.Undionly: "/usr/lib/ipxe/undionly.kpxe", plan.SNPOnly64: "/usr/lib/ipxe/snponly.efi",
				plan.LPXELinux: "/usr/lib/PXELINUX/lpxelinux.0", plan.LDLinux: "/usr/lib/syslinux/modules/bios/ldlinux.c32",
				plan.GRUB64: "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", plan.Shim64: "/usr/lib/shim/shimx64.efi.signed",
			},
		},
		{
			"Fedora",
			tree("usr/share/ipxe/undionly.kpxe", "usr/share/ipxe/ipxe-snponly-x86_64.efi", "usr/share/ipxe/arm64-efi/snponly.efi",
				"usr/share/syslinux/lpxelinux.0", "usr/share/syslinux/ldlinux.c32", "boot/efi/EFI/fedora/shimx64.efi", "boot/efi/EFI/fedora/grubx64.efi"),
			nil,
			map[plan.Loader]string{
				plan.Undionly: "/usr/share/ipxe/undionly.kpxe", plan.SNPOnly64: "/usr/share/ipxe/ipxe-snponly-x86_64.efi",
				plan.SNPOnlyAA64: "/usr/share/ipxe/arm64-efi/snponly.efi", plan.LPXELinux: "/usr/share/syslinux/lpxelinux.0",
				plan.LDLinux: "/usr/share/syslinux/ldlinux.c32",
				plan.Shim64:  "/boot/efi/EFI/fedora/shimx64.efi", plan.GRUB64: "/boot/efi/EFI/fedora/grubx64.efi",
			},
		},
		{
			"own folder first", tree("usr/lib/ipxe/snponly.efi", "srv/loaders/snponly.efi"),
			[]string{"/srv/loaders"},
			map[plan.Loader]string{plan.SNPOnly64: "/srv/loaders/snponly.efi"},
		},
		{"an empty folder is none", tree("snponly.efi"), []string{""}, map[plan.Loader]string{}},
		{
			"a folder is no pattern", tree("srv/[a]/snponly.efi"),
			[]string{"/srv/[a]"},
			map[plan.Loader]string{plan.SNPOnly64: "/srv/[a]/snponly.efi"},
		},
		{"an empty file is none", empty, nil, map[plan.Loader]string{plan.Undionly: "/usr/lib/ipxe/undionly.kpxe"}},
		{"a folder is none", tree("usr/lib/ipxe/undionly.kpxe/file"), nil, map[plan.Loader]string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, find(tt.fsys, tt.dirs...)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestFindLoadersFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	if err := os.WriteFile(real, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, string(plan.GRUBPPC64))
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if got := FindLoaders(dir)[plan.GRUBPPC64]; got != link {
		t.Errorf("found %q, want %q", got, link)
	}
}

func TestFindModule(t *testing.T) {
	core := func() string { return "/srv/tftp/boot/grub/powerpc-ieee1275/core.elf" }
	for asked, want := range map[string]string{
		"/boot/grub/powerpc-ieee1275/normal.mod":   "/srv/tftp/boot/grub/powerpc-ieee1275/normal.mod",
		"boot/grub2/powerpc-ieee1275/command.lst":  "/srv/tftp/boot/grub/powerpc-ieee1275/command.lst",
		"/boot/grub/powerpc-ieee1275/core.elf":     "",
		"/boot/grub/powerpc-ieee1275/../x.mod":     "",
		"/boot/grub/powerpc-ieee1275/.mod":         "",
		"/boot/grub/powerpc-ieee1275/a/normal.mod": "",
		"/boot/grub/i386-pc/normal.mod":            "",
		"/boot/grub/powerpc-ieee1275/grub.cfg":     "",
		"powerpc-ieee1275":                         "",
		"":                                         "",
	} {
		if got := findModule(asked, core); got != want {
			t.Errorf("%q: got %q, want %q", asked, got, want)
		}
	}
	if got := findModule("/boot/grub/powerpc-ieee1275/normal.mod", func() string { return "" }); got != "" {
		t.Errorf("without GRUB for POWER: %q", got)
	}
}

func TestMissing(t *testing.T) {
	found := find(tree("usr/lib/ipxe/undionly.kpxe", "usr/lib/PXELINUX/lpxelinux.0"))
	missing := map[plan.Loader]bool{}
	for _, l := range MissingLoaders(found) {
		missing[l] = true
	}
	if missing[plan.Undionly] || !missing[plan.SNPOnly64] || !missing[plan.LPXELinux] {
		t.Errorf("lpxelinux.0 without ldlinux.c32 must not be offered: %v", missing)
	}
	for _, p := range Missing(found) {
		s := p.String()
		if p.Loader == plan.LPXELinux || p.Loader == plan.Undionly {
			t.Errorf("it is there: %s", s)
		}
		if p.Debian == "" || p.Fedora == "" || !strings.Contains(s, string(p.Loader)) {
			t.Errorf("no remedy: %q", s)
		}
	}
	if n := len(Missing(nil)); n != len(loaders) {
		t.Errorf("%d of %d loaders are missing when none is there", n, len(loaders))
	}
}
