package plan

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"helperd/config"
)

// firmware is one kind of client and the loaders that start it, best first.
type firmware struct {
	arch    uint16
	loaders []Loader
	vendor  Loader // in place of loaders when the artifact brings its own, for Secure Boot
	http    bool   // UEFI HTTP Boot
}

// firmwares by the machine's architecture. iPXE comes first, for it loads by
// HTTP, several times faster than TFTP; of its two builds for UEFI the one that
// uses the firmware's own driver, which is there for every card that the
// firmware can boot from. PXELINUX loads by HTTP in its build lpxelinux.0. 32-bit
// UEFI (0x06, 0x0f) has no entry: no CoreOS kernel runs there. GRUB finds no
// prefix when it was loaded by HTTP Boot (upstream and Debian 2.06), so it is no
// second choice there.
var firmwares = map[string][]firmware{
	"x86_64": {
		{arch: ArchBIOS, loaders: []Loader{Undionly, LPXELinux, PXELinux}},
		{arch: ArchEFI64, loaders: []Loader{SNPOnly64, IPXE64, GRUB64}, vendor: Shim64},
		{arch: ArchEFI64Alt, loaders: []Loader{SNPOnly64, IPXE64, GRUB64}, vendor: Shim64},
		{arch: ArchHTTP64, loaders: []Loader{SNPOnly64, IPXE64}, vendor: Shim64, http: true},
	},
	"aarch64": {
		{arch: ArchEFIArm64, loaders: []Loader{SNPOnlyAA64, IPXEAA64, GRUBAA64}, vendor: ShimAA64},
		{arch: ArchHTTPArm64, loaders: []Loader{SNPOnlyAA64, IPXEAA64}, vendor: ShimAA64, http: true},
	},
	"ppc64le": {
		{arch: ArchPPC64, loaders: []Loader{GRUBPPC64}},
	},
}

// bootFiles says what the node boots from when it asks with MAC m.
func (b *builder) bootFiles(n *Node, m MAC) *BootFiles {
	if n.Boot == nil {
		return nil
	}
	f := &BootFiles{}
	if b.c.HTTP.Enabled {
		f.Script = ScriptURL(n.Boot.BaseURL, m)
	}
	a := b.artifact(n.Boot.Artifact)
	for _, fw := range firmwares[n.Arch] {
		file := b.loaderFile(fw, a)
		switch {
		case file == "":
		case fw.http && b.c.HTTP.Enabled:
			put(&f.HTTP, fw.arch, n.Boot.BaseURL+httpLoaderPath(file))
		case !fw.http && b.c.TFTP.Enabled:
			put(&f.TFTP, fw.arch, file)
		}
	}
	b.pathPrefix(n, m, f)
	return f
}

// bootURLs says what the node boots from when it asks by DHCPv6 with MAC m. There
// is no BIOS that does. Loaders of an artifact have paths that begin alike on both servers.
func (b *builder) bootURLs(n *Node, m MAC) *BootFiles {
	names := b.bootFiles(n, m)
	if names == nil {
		return nil
	}
	f := &BootFiles{}
	if web := b.baseURL6(); web != "" {
		f.Script = ScriptURL(web, m)
		for arch, url := range names.HTTP {
			put(&f.HTTP, arch, web+strings.TrimPrefix(url, n.Boot.BaseURL))
		}
	}
	if own := b.p.Helper.Address6; own.IsValid() {
		for arch, file := range names.TFTP {
			if arch != ArchBIOS {
				put(&f.TFTP, arch, "tftp://["+own.String()+"]/"+file)
			}
		}
	}
	return f
}

// put sets a value of a map that may not be there yet.
func put(m *map[uint16]string, key uint16, value string) {
	if *m == nil {
		*m = map[uint16]string{}
	}
	(*m)[key] = value
}

// pathPrefix gives PXELINUX and petitboot the option that makes them load by HTTP.
func (b *builder) pathPrefix(n *Node, m MAC, f *BootFiles) {
	switch http := b.c.HTTP.Enabled; {
	case n.Arch == "ppc64le" && http:
		f.PathPrefix = map[uint16]string{ArchPetitboot: n.Boot.BaseURL + "/"}
	case n.Arch == "ppc64le" && b.c.TFTP.Enabled:
		f.PathPrefix = map[uint16]string{ArchPetitboot: "tftp://" + b.p.Helper.Address.String() + "/"}
	case http && f.TFTP[ArchBIOS] == string(LPXELinux):
		f.PathPrefix = map[uint16]string{ArchBIOS: n.Boot.BaseURL + "/boot/"}
	}
	if f.PathPrefix[ArchPetitboot] != "" {
		f.ConfigFile = "pxelinux.cfg/01-" + m.Dashed()
	}
}

// Instead gives the loaders that take the place of l where this machine does
// not have it, best first.
func Instead(l Loader) []Loader {
	for _, arch := range []string{"x86_64", "aarch64"} {
		for _, fw := range firmwares[arch] {
			if i := slices.Index(fw.loaders, l); i >= 0 {
				return fw.loaders[i+1:]
			}
		}
	}
	return nil
}

// loaderFile is the TFTP file that starts fw; empty: there is none.
func (b *builder) loaderFile(fw firmware, a *config.Artifact) string {
	if fw.vendor != "" && a.Loader != "" {
		return strings.TrimPrefix(path.Join(artifactPath(a, "loader"), string(fw.vendor)), "/")
	}
	for _, l := range fw.loaders {
		if !slices.Contains(b.facts.MissingLoaders, l) {
			return string(l)
		}
	}
	return ""
}

// httpLoaderPath is where the web server has a file of the TFTP server.
func httpLoaderPath(file string) string {
	if strings.HasPrefix(file, "artifacts/") {
		return "/" + file
	}
	return "/boot/" + file
}

// ScriptURL is where iPXE loads the boot script of the node with MAC m.
func ScriptURL(baseURL string, m MAC) string { return baseURL + "/boot/" + m.Dashed() + ".ipxe" }

// vendorFiles are the loaders that an artifact brings, in a folder or an ISO.
// Shim loads GRUB from its own folder, so both stand side by side.
func (b *builder) vendorFiles(a *config.Artifact) []File {
	if a.Loader == "" {
		return nil
	}
	arches := []string{a.Arch}
	if a.Stream != (Origin{}) {
		arches = b.archesOf(a)
	}
	names := map[string][]Loader{
		"x86_64":  {Shim64, GRUB64},
		"aarch64": {ShimAA64, GRUBAA64},
	}
	var out []File
	for _, arch := range arches {
		for _, l := range names[arch] {
			out = append(out, vendorFile(a, l))
		}
	}
	return out
}

func vendorFile(a *config.Artifact, l Loader) File {
	f := File{Path: path.Join(artifactPath(a, "loader"), string(l)), File: filepath.Join(a.Loader, string(l))}
	if strings.EqualFold(filepath.Ext(a.Loader), ".iso") {
		f.File, f.Inside = a.Loader, l
	}
	return f
}
