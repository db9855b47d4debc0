package engine

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/plan"
)

// client is what asks: an operating system, or firmware or a loader that wants to boot.
type client struct {
	boots, ipxe, http bool
	archs             []uint16 // option 61; the first one that there is a file for counts
	enterprise        uint32   // of the vendor class, to be echoed
}

const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
	// enterpriseIntel is whose number UEFI's vendor classes have.
	enterpriseIntel = 343
)

func clientOf(options dhcpv6.MessageOptions) client {
	c := client{enterprise: enterpriseIntel}
	if o := options.GetOne(dhcpv6.OptionClientArchType); o != nil {
		for b := o.ToBytes(); len(b) >= 2; b = b[2:] {
			c.archs = append(c.archs, binary.BigEndian.Uint16(b))
		}
	}
	c.boots = len(c.archs) > 0
	c.http = c.boots && c.archs[0] >= plan.ArchHTTP32 && c.archs[0] <= 0x14
	for _, class := range options.VendorClasses() {
		for _, text := range class.Data {
			http := bytes.HasPrefix(text, []byte(classHTTP))
			if http {
				c.http, c.enterprise = true, class.EnterpriseNumber
			}
			c.boots = c.boots || http || bytes.HasPrefix(text, []byte(classPXE))
		}
	}
	c.ipxe = isIPXE(options.GetOne(dhcpv6.OptionUserClass))
	c.boots = c.boots || c.ipxe
	return c
}

// isIPXE reports whether a user class is iPXE's. Some builds leave out the length before it.
func isIPXE(o dhcpv6.Option) bool {
	if o == nil {
		return false
	}
	b := o.ToBytes()
	if len(b) > 2 && int(binary.BigEndian.Uint16(b)) == len(b)-2 {
		b = b[2:]
	}
	return string(b) == "iPXE"
}

// archNames are what people call the architectures.
var archNames = map[uint16]string{
	plan.ArchBIOS: "BIOS", plan.ArchEFI32: "UEFI x86", plan.ArchHTTP32: "UEFI x86",
	plan.ArchEFI64: "UEFI x64", plan.ArchEFI64Alt: "UEFI x64", plan.ArchHTTP64: "UEFI x64",
	plan.ArchEFIArm64: "UEFI arm64", plan.ArchHTTPArm64: "UEFI arm64",
	plan.ArchPPC64: "POWER", plan.ArchPetitboot: "petitboot",
}

// String is what people read in events, such as "PXE UEFI x64 over IPv6".
func (c *client) String() string {
	kind := "PXE"
	switch {
	case !c.boots:
		return "operating system over IPv6"
	case c.ipxe:
		kind = "iPXE"
	case c.http:
		kind = "HTTP Boot"
	}
	if len(c.archs) > 0 {
		name, ok := archNames[c.archs[0]]
		if !ok {
			name = "architecture " + strconv.Itoa(int(c.archs[0]))
		}
		kind += " " + name
	}
	return kind + " over IPv6"
}

// url is what c is told to load; empty: nothing. Both stages of iPXE look the
// same, so iPXE gets the script and nothing else: a loader would load itself for ever.
func (c *client) url(files *plan.BootFiles) string {
	switch {
	case files == nil || !c.boots:
		return ""
	case c.ipxe:
		return files.Script
	}
	from := files.TFTP
	if c.http {
		from = files.HTTP
	}
	for _, a := range c.archs {
		if from[a] != "" {
			return from[a]
		}
	}
	return ""
}

// lacks says why files have nothing for c, and what to do.
func (c *client) lacks(files *plan.BootFiles) string {
	what := c.String() + " gets no boot file: "
	switch {
	case files == nil:
		return what + "its cluster names no artifacts; write artifacts: with kernel, initramfs and rootfs"
	case len(files.TFTP)+len(files.HTTP) == 0 && files.Script == "":
		return what + "nothing is served over IPv6; write helper.address6 and switch tftp and http on"
	case c.ipxe:
		return what + "the web server, which has its script, is switched off or listens on IPv4 alone"
	}
	return what + "no loader for it is on the helper, or the node's arch in the file is another; see `helperd preflight`"
}
