package engine

import (
	"encoding/binary"
	"strconv"
	"strings"

	"helperd/plan"
	"helperd/services/dhcp/packet"
)

// client is what asks: an operating system, or firmware or a loader that wants to boot.
type client struct {
	boots bool
	bootp bool // knows no DHCP; firmware of that age does nothing but boot
	ipxe  bool
	http  bool   // UEFI HTTP Boot
	archs []byte // option 93; the first one that we have a file for counts
}

const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
)

func clientOf(req *packet.Request) client {
	c := client{bootp: req.BOOTP, ipxe: req.IPXE, archs: req.Archs[:len(req.Archs)&^1], http: hasPrefix(req.VendorClass, classHTTP)}
	c.boots = c.bootp || c.ipxe || c.http || len(c.archs) > 0 || hasPrefix(req.VendorClass, classPXE)
	if !c.http && len(c.archs) > 0 {
		c.http = isHTTP(c.arch(0))
	}
	return c
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

func isHTTP(arch uint16) bool { return arch >= 0x0f && arch <= 0x14 }

func (c *client) arch(i int) uint16 { return binary.BigEndian.Uint16(c.archs[2*i:]) }

// first looks the architectures of the client up in files; a client that names
// none is a BIOS (RFC 4578 section 2.1 wants it named, old ROMs do not).
func (c *client) first(files map[uint16]string) (file string, arch uint16) {
	if len(c.archs) == 0 {
		return files[plan.ArchBIOS], plan.ArchBIOS
	}
	for i := range len(c.archs) / 2 {
		if f := files[c.arch(i)]; f != "" {
			return f, c.arch(i)
		}
	}
	return "", c.arch(0)
}

// archName is what people call an architecture.
func archName(arch uint16) string {
	switch arch {
	case plan.ArchBIOS:
		return "BIOS"
	case plan.ArchEFI32, plan.ArchHTTP32:
		return "UEFI x86"
	case plan.ArchEFI64, plan.ArchEFI64Alt, plan.ArchHTTP64:
		return "UEFI x64"
	case plan.ArchEFIArm64, plan.ArchHTTPArm64:
		return "UEFI arm64"
	case plan.ArchPPC64:
		return "POWER"
	case plan.ArchPetitboot:
		return "petitboot"
	}
	return "architecture " + strconv.Itoa(int(arch))
}

// kind is the sort of client without its architecture.
func (c *client) kind() string {
	switch {
	case !c.boots:
		return "operating system"
	case c.bootp:
		return "BOOTP"
	case c.ipxe:
		return "iPXE"
	case c.http:
		return "HTTP Boot"
	}
	return "PXE"
}

// String is what people read in events, such as "iPXE BIOS" or "HTTP Boot UEFI x64".
func (c *client) String() string {
	switch {
	case !c.boots:
		return c.kind()
	case len(c.archs) == 0:
		return c.kind() + " " + archName(plan.ArchBIOS)
	}
	return c.kind() + " " + archName(c.arch(0))
}

// lacks says why files have nothing for c, and what to do.
func (c *client) lacks(files *plan.BootFiles) string {
	what := c.String() + " gets no boot file: "
	switch {
	case files == nil:
		return what + "its cluster names no artifacts; write artifacts: with kernel, initramfs and rootfs"
	case len(c.archs) > 0 && (c.arch(0) == plan.ArchEFI32 || c.arch(0) == plan.ArchHTTP32):
		return what + "CoreOS does not run on 32-bit UEFI; switch the firmware to 64 bits or to legacy BIOS"
	case c.ipxe:
		return what + "the web server, which has its script, is switched off"
	}
	return what + "no loader for it is on the helper, or the node's arch in the file is another; see `helperd preflight`"
}

// choice is what a booting client is told to load.
type choice struct {
	file           string // name on the TFTP server, or URL
	config, prefix string // options 209 and 210
	http           bool   // say the class HTTPClient, or the firmware drops the offer
}

// choose picks the boot file for c. Both stages of iPXE look the same, so
// iPXE gets the script and nothing else: a loader would load itself for ever.
func choose(files *plan.BootFiles, c *client) choice {
	switch {
	case files == nil || !c.boots:
		return choice{}
	case c.ipxe:
		return choice{file: files.Script, http: c.http}
	case c.http:
		file, _ := c.first(files.HTTP)
		return choice{file: file, http: true}
	}
	file, arch := c.first(files.TFTP)
	say := choice{file: file, prefix: files.PathPrefix[arch]}
	if arch == plan.ArchPetitboot {
		say.config = files.ConfigFile
	}
	return say
}

// String is what people read in events; empty: nothing to load.
func (c choice) String() string {
	if c.file == "" && c.config != "" {
		return strings.TrimSuffix(c.prefix, "/") + "/" + c.config
	}
	return c.file
}
