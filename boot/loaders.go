package boot

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"helperd/plan"
)

// known is a loader, where packages put it, and which packages do.
type known struct {
	loader         plan.Loader
	what           string
	paths          []string // patterns of path.Match, without a leading slash, best first
	debian, fedora string   // packages
}

// loaders in the order that people care about them. On the EFI system
// partition stands what this machine boots itself.
var loaders = []known{
	{
		plan.Undionly, "iPXE for BIOS",
		[]string{"usr/lib/ipxe/undionly.kpxe", "usr/share/ipxe/undionly.kpxe"},
		"ipxe", "ipxe-bootimgs-x86",
	},
	{
		plan.SNPOnly64, "iPXE for x86-64 UEFI",
		[]string{"usr/lib/ipxe/snponly.efi", "usr/share/ipxe/snponly.efi", "usr/share/ipxe/ipxe-snponly-x86_64.efi"},
		"ipxe", "ipxe-bootimgs-x86",
	},
	{
		plan.IPXE64, "iPXE for x86-64 UEFI with drivers of its own",
		[]string{"usr/lib/ipxe/ipxe.efi", "usr/share/ipxe/ipxe.efi", "usr/share/ipxe/ipxe-x86_64.efi"},
		"ipxe", "ipxe-bootimgs-x86",
	},
	{
		plan.SNPOnlyAA64, "iPXE for arm64 UEFI",
		[]string{
			"usr/lib/ipxe/snponly-arm64.efi", "usr/lib/ipxe/arm64-efi/snponly.efi",
			"usr/share/ipxe/arm64-efi/snponly.efi", "usr/share/ipxe/ipxe-snponly-aarch64.efi",
		},
		"ipxe", "ipxe-bootimgs-aarch64",
	},
	{
		plan.IPXEAA64, "iPXE for arm64 UEFI with drivers of its own",
		[]string{
			"usr/lib/ipxe/ipxe-arm64.efi", "usr/lib/ipxe/arm64-efi/ipxe.efi",
			"usr/share/ipxe/arm64-efi/ipxe.efi", "usr/share/ipxe/ipxe-aarch64.efi",
		},
		"ipxe", "ipxe-bootimgs-aarch64",
	},
	{
		plan.LPXELinux, "PXELINUX for BIOS",
		[]string{"usr/lib/PXELINUX/lpxelinux.0", "usr/share/syslinux/lpxelinux.0", "tftpboot/lpxelinux.0"},
		"pxelinux", "syslinux-nonlinux",
	},
	{
		plan.PXELinux, "PXELINUX for BIOS without HTTP",
		[]string{"usr/lib/PXELINUX/pxelinux.0", "usr/share/syslinux/pxelinux.0", "tftpboot/pxelinux.0"},
		"pxelinux", "syslinux-nonlinux",
	},
	{
		plan.LDLinux, "the core of PXELINUX",
		[]string{"usr/lib/syslinux/modules/bios/ldlinux.c32", "usr/share/syslinux/ldlinux.c32", "tftpboot/ldlinux.c32"},
		"syslinux-common", "syslinux-nonlinux",
	},
	{
		plan.GRUB64, "GRUB for x86-64 UEFI",
		[]string{
			"usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "usr/lib/efi/grub2/*/EFI/*/grubx64.efi",
			"boot/efi/EFI/*/grubx64.efi",
		},
		"grub-efi-amd64-signed", "grub2-efi-x64",
	},
	{
		plan.Shim64, "shim for x86-64 UEFI",
		[]string{
			"usr/lib/shim/shimx64.efi.signed", "usr/lib/efi/shim/*/EFI/*/shimx64.efi",
			"usr/share/shim/*/x64/shimx64.efi", "boot/efi/EFI/*/shimx64.efi",
		},
		"shim-signed", "shim-x64",
	},
	{
		plan.GRUBAA64, "GRUB for arm64 UEFI",
		[]string{
			"usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed", "usr/lib/efi/grub2/*/EFI/*/grubaa64.efi",
			"boot/efi/EFI/*/grubaa64.efi",
		},
		"grub-efi-arm64-signed:arm64", "grub2-efi-aa64",
	},
	{
		plan.ShimAA64, "shim for arm64 UEFI",
		[]string{
			"usr/lib/shim/shimaa64.efi.signed", "usr/lib/efi/shim/*/EFI/*/shimaa64.efi",
			"usr/share/shim/*/aa64/shimaa64.efi", "boot/efi/EFI/*/shimaa64.efi",
		},
		"shim-signed:arm64", "shim-aa64",
	},
	{
		plan.GRUBPPC64, "GRUB for POWER, which grub-mknetdir makes",
		[]string{
			"boot/grub/powerpc-ieee1275/core.elf", "boot/grub2/powerpc-ieee1275/core.elf",
			"srv/tftp/boot/grub/powerpc-ieee1275/core.elf", "var/lib/tftpboot/boot/grub2/powerpc-ieee1275/core.elf",
		},
		"grub-ieee1275-bin:ppc64el", "grub2-ppc64le-modules",
	},
}

// FindLoaders gives the path of each boot loader that this machine has. Files
// under their own name in dirs, such as the user's TFTP root, come before those
// of packages; an empty name is no folder.
func FindLoaders(dirs ...string) map[plan.Loader]string { return find(os.DirFS("/"), dirs...) }

// FindLoader gives the path of one boot loader, as FindLoaders does; empty: this machine does not
// have it. A rack that is switched on asks for the same one again and again.
func FindLoader(l plan.Loader, dirs ...string) string {
	for i := range loaders {
		if k := &loaders[i]; k.loader == l {
			return k.find(os.DirFS("/"), dirs)
		}
	}
	return ""
}

// find looks in fsys, whose root stands for /.
func find(fsys fs.FS, dirs ...string) map[plan.Loader]string {
	found := map[plan.Loader]string{}
	for i := range loaders {
		if file := loaders[i].find(fsys, dirs); file != "" {
			found[loaders[i].loader] = file
		}
	}
	return found
}

func (k *known) find(fsys fs.FS, dirs []string) string {
	for _, d := range dirs {
		if file := path.Join(strings.TrimLeft(d, "/"), string(k.loader)); d != "" && isFile(fsys, file) {
			return "/" + file
		}
	}
	for _, p := range k.paths {
		files, _ := fs.Glob(fsys, p) // fails for a malformed pattern only; these are constants
		if i := slices.IndexFunc(files, func(f string) bool { return isFile(fsys, f) }); i >= 0 {
			return "/" + files[i]
		}
	}
	return ""
}

// isFile reports whether there is something to send. A file that cannot be
// looked at, as on an EFI system partition without root, is not there.
func isFile(fsys fs.FS, name string) bool {
	st, err := fs.Stat(fsys, name)
	return err == nil && st.Mode().IsRegular() && st.Size() > 0
}

// MissingLoaders are those that Facts must name: not in found, or not complete.
func MissingLoaders(found map[plan.Loader]string) []plan.Loader {
	var out []plan.Loader
	for _, k := range loaders {
		if !usable(found, k.loader) {
			out = append(out, k.loader)
		}
	}
	return out
}

// usable: PXELINUX is nothing without ldlinux.c32, which it loads.
func usable(found map[plan.Loader]string, l plan.Loader) bool {
	return found[l] != "" && (l != plan.LPXELinux && l != plan.PXELinux || found[plan.LDLinux] != "")
}

// powerFolder is where grub-mknetdir puts GRUB for POWER and its modules.
const powerFolder = "powerpc-ieee1275"

var powerModule = regexp.MustCompile(`^[a-z0-9_]+\.(mod|lst)$`)

// FindModule gives the file for a path such as
// boot/grub/powerpc-ieee1275/normal.mod. GRUB for POWER holds little more than
// its network code; the rest stands beside it. Empty: path means no module.
func FindModule(asked string) string {
	return findModule(asked, func() string { return FindLoader(plan.GRUBPPC64) })
}

func findModule(asked string, core func() string) string {
	dir, base := path.Split(asked)
	if path.Base(dir) != powerFolder || !powerModule.MatchString(base) {
		return ""
	}
	c := core()
	if c == "" {
		return ""
	}
	return path.Join(path.Dir(c), base)
}

// Problem is a loader that this machine does not have.
type Problem struct {
	Loader plan.Loader
	// What it is for.
	What string
	// Debian and Fedora name the package that brings it.
	Debian, Fedora string
}

// String says what is missing and what to do.
func (p Problem) String() string {
	return fmt.Sprintf("%s (%s) is not on this machine; install package %s (Debian) or %s (Fedora)", p.Loader, p.What, p.Debian, p.Fedora)
}

// Missing says which loaders are not in found, and what to install.
func Missing(found map[plan.Loader]string) []Problem {
	var out []Problem
	for _, k := range loaders {
		if found[k.loader] == "" {
			out = append(out, Problem{k.loader, k.what, k.debian, k.fedora})
		}
	}
	return out
}
