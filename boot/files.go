package boot

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"helperd/plan"
)

// Kind is a kind of boot file.
type Kind string

// The kinds. Those for any machine have no node.
const (
	KindIPXE         Kind = "ipxe"
	KindGRUB         Kind = "grub"
	KindPXELINUX     Kind = "pxelinux"
	KindIPXEDispatch Kind = "ipxe-dispatch"
	KindGRUBDispatch Kind = "grub-dispatch"
	KindPXELINUXNone Kind = "pxelinux-none"
)

// File is a boot file that a path means.
type File struct {
	Kind Kind
	Node *plan.Node // has a Boot; nil: a file for any machine
	// Shared is a name such as grub.cfg that says nothing of the machine: a
	// file of the user's own under that name comes first.
	Shared bool
	// Refused says why the machine that asks boots nothing, and what to do. It
	// is for people, and for the machine's console.
	Refused string
	// MAC is the one that Refused is about; zero: the path names none.
	MAC  plan.MAC
	base string
}

// Render gives the content of the file. The options do not matter to files for any machine.
func (f File) Render(o Options) []byte {
	switch f.Kind {
	case KindIPXE:
		return IPXE(f.Node, o)
	case KindGRUB:
		return GRUB(f.Node, o)
	case KindPXELINUX:
		return PXELINUX(f.Node, o)
	case KindIPXEDispatch:
		return IPXEDispatch(f.base)
	case KindPXELINUXNone:
		return PXELINUXNone()
	}
	return GRUBDispatch()
}

// Resolver finds the boot file that a path means. It is immutable.
type Resolver struct {
	p    *plan.Plan
	base string // BaseURL that nodes have; empty: no node boots from here
}

// Files gives the resolver of p.
func Files(p *plan.Plan) *Resolver {
	r := &Resolver{p: p}
	for _, n := range p.Nodes {
		if n.Boot != nil {
			r.base = n.Boot.BaseURL
			break
		}
	}
	return r
}

// Resolve finds the file for a path as TFTP and HTTP clients send it, with or
// without a leading slash, in any case:
//
//	pxelinux.cfg/01-52-54-00-e7-9d-67   pxelinux.cfg/C0A8430B   pxelinux.cfg/UUID   pxelinux.cfg/default
//	grub.cfg-01-52-54-00-e7-9d-67       grub.cfg-C0A8430B       grub.cfg-UUID       grub.cfg
//	boot/52-54-00-e7-9d-67.ipxe         boot/ipxe
//
// PXELINUX and GRUB ask below the folder that they were loaded from or built
// for, so any folder may stand before their names. Only Ethernet (01) and whole
// addresses are known: the shorter addresses that loaders try afterwards mean
// many machines. holder is the node that the asking address was given to by
// our DHCP, or nil: the file need not say which machine has which UUID, so UUIDs
// and shared names mean the holder.
//
// When it finds nothing under a name that means one machine, the File says in
// Refused why.
func (r *Resolver) Resolve(path string, holder *plan.Node) (File, bool) {
	path = strings.ToLower(strings.TrimLeft(strings.ReplaceAll(path, `\`, "/"), "/")) // UEFI writes backslashes
	dir, base := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, base = path[:i], path[i+1:]
	}
	if r.base == "" || strings.Contains("/"+dir+"/", "/../") {
		return File{}, false
	}
	folder := dir[strings.LastIndexByte(dir, '/')+1:]
	switch {
	case folder == "pxelinux.cfg" && base == "default":
		return r.shared(KindPXELINUX, holder, File{Kind: KindPXELINUXNone, Refused: refusedByAddress})
	case folder == "pxelinux.cfg":
		return r.named(KindPXELINUX, base, holder)
	case base == "grub.cfg":
		return r.shared(KindGRUB, holder, File{Kind: KindGRUBDispatch})
	case strings.HasPrefix(base, "grub.cfg-"):
		return r.named(KindGRUB, strings.TrimPrefix(base, "grub.cfg-"), holder)
	case dir != "boot":
		return File{}, false
	case base == "ipxe":
		return File{Kind: KindIPXEDispatch, Shared: true, base: r.base}, true
	}
	mac, ok := strings.CutSuffix(base, ".ipxe")
	if !ok {
		return File{}, false
	}
	return r.byMAC(KindIPXE, mac)
}

// shared is the holder's file, or other, under a name that any machine may ask for.
func (r *Resolver) shared(k Kind, holder *plan.Node, other File) (File, bool) {
	if holder != nil && holder.Boot != nil {
		other = File{Kind: k, Node: holder}
	}
	other.Shared = true
	return other, true
}

// named finds a node by what PXELINUX and GRUB put into names: the hardware
// type and MAC, the IPv4 address in hex, or the UUID of the machine.
func (r *Resolver) named(k Kind, s string, holder *plan.Node) (File, bool) {
	if mac, ok := strings.CutPrefix(s, "01-"); ok {
		return r.byMAC(k, mac)
	}
	if isUUID(s) {
		return file(k, holder)
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return File{}, false
	}
	return file(k, r.p.NodeByAddr(netip.AddrFrom4([4]byte(b))))
}

// isUUID reports whether s has the form of RFC 9562 section 4, in lower case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') {
			return false
		} else if !dash && !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return false
		}
	}
	return true
}

// byMAC finds a node by six hex bytes with dashes, or colons as GRUB's
// $net_default_mac has them.
func (r *Resolver) byMAC(k Kind, s string) (File, bool) {
	m, err := plan.ParseMAC(s)
	if err != nil || m.Dashed() != s && m.String() != s {
		return File{}, false
	}
	n := r.p.NodeByMAC(m)
	if f, ok := file(k, n); ok {
		return f, true
	}
	if n != nil {
		return File{MAC: m, Refused: fmt.Sprintf("node %s boots nothing from here; write artifacts: at its cluster", n.Name)}, false
	}
	return File{MAC: m, Refused: fmt.Sprintf("no node has MAC %s; add it to the node's mac in the configuration", m)}, false
}

const refusedByAddress = "no node has the MAC of this machine, or another DHCP server gave it its address; add it to the node's mac in the configuration"

func file(k Kind, n *plan.Node) (File, bool) {
	if n == nil || n.Boot == nil {
		return File{}, false
	}
	return File{Kind: k, Node: n}, true
}
