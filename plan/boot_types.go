package plan

import "slices"

// A Loader is the file name of a boot loader in /boot/ of the HTTP server and
// in the root of the TFTP server.
type Loader string

// The loaders that helperd hands out. Package boot finds them on this machine.
const (
	Undionly    Loader = "undionly.kpxe"     // iPXE for BIOS
	LPXELinux   Loader = "lpxelinux.0"       // PXELINUX with HTTP, for BIOS
	PXELinux    Loader = "pxelinux.0"        // PXELINUX that knows TFTP alone, for BIOS
	SNPOnly64   Loader = "snponly.efi"       // iPXE for x86-64 UEFI
	SNPOnlyAA64 Loader = "snponly-arm64.efi" // iPXE for arm64 UEFI
	IPXE64      Loader = "ipxe.efi"          // iPXE for x86-64 UEFI with drivers of its own
	IPXEAA64    Loader = "ipxe-arm64.efi"    // iPXE for arm64 UEFI with drivers of its own
	GRUB64      Loader = "grubx64.efi"       // GRUB for x86-64 UEFI
	GRUBAA64    Loader = "grubaa64.efi"      // GRUB for arm64 UEFI
	Shim64      Loader = "shimx64.efi"       // shim for x86-64 UEFI; loads grubx64.efi
	ShimAA64    Loader = "shimaa64.efi"      // shim for arm64 UEFI; loads grubaa64.efi
	GRUBPPC64   Loader = "core.elf"          // GRUB for POWER
	LDLinux     Loader = "ldlinux.c32"       // loaded by lpxelinux.0 and pxelinux.0
)

// Boot is what a node boots: enough to render every kind of boot file.
type Boot struct {
	Artifact  string
	Kernel    string   // URL path on the HTTP server, such as /artifacts/rhcos/kernel; the same path without / on TFTP
	Initramfs string   // likewise
	Image     string   // URL path of what the installer writes to the disk: the rootfs, or a metal image (4.5 and earlier)
	Others    []string // likewise, of the versions that the node may have begun an installation with before it was told of this one
	Args      []string // kernel arguments, without the ignition token
	Ignition  string   // URL of the node's ignition file, which Args refer to; the token is appended to it
	BaseURL   string   // http://ADDRESS:PORT, without a trailing slash
}

// Installs reports whether path is that of what the node writes to its disk.
func (b *Boot) Installs(path string) bool {
	return path == b.Image || slices.Contains(b.Others, path)
}

// BootFiles says what a booting client is told to load, by the kind of client.
// An empty string: nothing here boots that kind.
type BootFiles struct {
	Script string            // URL of the iPXE script
	TFTP   map[uint16]string // file on the TFTP server, by architecture (RFC 4578 section 2.1, IANA "Processor Architecture Types")
	HTTP   map[uint16]string // URL for UEFI HTTP Boot, by architecture
	// ConfigFile is option 209 (RFC 5071), for petitboot.
	ConfigFile string
	// PathPrefix is option 210 (RFC 5071) by architecture: what PXELINUX and
	// petitboot put before the names of files. Where it is a URL they load by HTTP.
	PathPrefix map[uint16]string
}

// Client architectures of DHCP option 93.
const (
	ArchBIOS      = 0x00
	ArchEFI32     = 0x06
	ArchEFI64     = 0x07
	ArchEFI64Alt  = 0x09
	ArchEFIArm64  = 0x0b
	ArchPPC64     = 0x0c
	ArchPetitboot = 0x0e
	ArchHTTP32    = 0x0f
	ArchHTTP64    = 0x10
	ArchHTTPArm64 = 0x13
)
