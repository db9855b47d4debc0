package boot

import (
	"bytes"
	"embed"
	"fmt"
	"net/url"
	"strings"
	"text/template"

	"helperd/plan"
)

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"join":   func(args []string) string { return strings.Join(args, " ") },
	"quoted": quoted,
}).ParseFS(templateFiles, "templates/*"))

// Options are what a boot file depends on beside the plan.
type Options struct {
	// Token is appended to the URL of the ignition file; empty: none.
	Token string
	// Disk starts the node from its disk and installs nothing.
	Disk bool
	// TFTP says that the file is read by TFTP. A PXELINUX that does so may be
	// the build that knows no HTTP, and finds paths in place of URLs.
	TFTP bool
}

// IPXE is the iPXE script of n, which must have a Boot. On failure it tries
// again for ever: a dead prompt in a rack helps nobody.
//
// A node that is to start from its disk leaves iPXE with an error. On UEFI,
// success would end in the firmware's menu: only a boot option that failed is
// followed by the next (UEFI specification, section 3.1.1).
func IPXE(n *plan.Node, o Options) []byte { return render("ipxe", n, o) }

// GRUB is the GRUB configuration of n, which must have a Boot. Paths are without
// a device, so GRUB loads from where it was loaded itself. Kernel and initramfs
// are tried again one by one: a kernel that is loaded anew after its initramfs
// failed does not start (seen with Debian's signed GRUB 2.06).
//
// The disk becomes GRUB's root before its loader is started: GRUB 2.06 tells a
// loader that it comes from the root device, whatever device its name has, and a
// shim that believes to come from the network finds no GRUB beside it.
func GRUB(n *plan.Node, o Options) []byte { return render("grub", n, o) }

// PXELINUX is the PXELINUX configuration of n, which must have a Boot.
// Petitboot reads it too.
func PXELINUX(n *plan.Node, o Options) []byte { return render("pxelinux", n, o) }

// PXELINUXNone is a PXELINUX configuration for a machine that is no node: it
// says so and goes on with the next boot device.
func PXELINUXNone() []byte { return execute("none.pxelinux", nil) }

// IPXEDispatch is an iPXE script for any machine: it goes on with the script of its own MAC.
func IPXEDispatch(baseURL string) []byte {
	return execute("dispatch.ipxe", struct{ BaseURL string }{baseURL})
}

// GRUBDispatch is a GRUB configuration for any machine: it goes on with that of its own MAC.
func GRUBDispatch() []byte { return execute("dispatch.grub", nil) }

// view is what the templates see.
type view struct {
	*plan.Boot
	Node        *plan.Node
	Args        []string // with the token
	DiskLoaders []string // on the EFI system partition
	Serial      *serial  // nil: none
	From        string   // what stands before the paths of kernel and initramfs
}

func render(kind string, n *plan.Node, o Options) []byte {
	v := view{Boot: n.Boot, Node: n, Serial: serialOf(n.Boot.Args), From: n.Boot.BaseURL}
	if o.Disk {
		v.DiskLoaders = diskLoaders[n.Arch]
		return execute("disk."+kind, v)
	}
	if v.Args = withToken(n.Boot, o.Token); o.TFTP {
		v.From = ""
	}
	return execute("install."+kind, v)
}

func execute(name string, data any) []byte {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		panic(fmt.Sprintf("boot: %v", err)) // a mistake in an embedded template; every test would see it
	}
	return b.Bytes()
}

// diskLoaders are what an installed system has on its EFI system partition, by
// the architecture of the node. A POWER machine finds its disk by itself.
var diskLoaders = map[string][]string{
	"x86_64": {
		"/EFI/redhat/shimx64.efi", "/EFI/fedora/shimx64.efi", "/EFI/centos/shimx64.efi", "/EFI/BOOT/BOOTX64.EFI",
	},
	"aarch64": {
		"/EFI/redhat/shimaa64.efi", "/EFI/fedora/shimaa64.efi", "/EFI/centos/shimaa64.efi", "/EFI/BOOT/BOOTAA64.EFI",
	},
}

// withToken appends the token to the argument that names the ignition file.
func withToken(b *plan.Boot, token string) []string {
	if token == "" || b.Ignition == "" {
		return b.Args
	}
	args := make([]string, len(b.Args))
	for i, a := range b.Args {
		if strings.HasSuffix(a, "="+b.Ignition) {
			a += "?token=" + url.QueryEscape(token)
		}
		args[i] = a
	}
	return args
}

// quoted are the arguments as GRUB's shell reads them. GRUB hands words with
// spaces to the kernel in double quotes, so double quotes of the user's are
// taken off: foo="a b" arrives as "foo=a b", which the kernel takes for the same.
func quoted(args []string) string {
	var words []string
	for _, a := range args {
		for _, w := range split(a) {
			w = strings.ReplaceAll(w, `"`, "")
			if strings.ContainsFunc(w, special) {
				w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
			}
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}

// special reports whether r means something to GRUB's shell.
func special(r rune) bool { return strings.ContainsRune(" \t$\\'|&;<>{}()#*[]!", r) }

// split cuts s at spaces that are not in double quotes.
func split(s string) []string {
	inside := false
	return strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			inside = !inside
		}
		return !inside && (r == ' ' || r == '\t')
	})
}
