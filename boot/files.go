package boot

import (
	"encoding/hex"
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
)

// File is a boot file that a path means.
type File struct {
	Kind Kind
	Node *plan.Node // has a Boot; nil: a file for any machine
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
// without a leading slash:
//
//	pxelinux.cfg/01-52-54-00-e7-9d-67   pxelinux.cfg/C0A8430B
//	grub.cfg-01-52-54-00-e7-9d-67       grub.cfg-C0A8430B       grub.cfg
//	boot/52-54-00-e7-9d-67.ipxe         boot/ipxe
//
// PXELINUX and GRUB ask below the folder that they were loaded from or built
// for, so any folder may stand before their names. Only Ethernet (01) and whole
// addresses are known; the shorter addresses that loaders try afterwards are not.
func (r *Resolver) Resolve(path string) (File, bool) {
	path = strings.TrimLeft(strings.ReplaceAll(path, `\`, "/"), "/") // UEFI writes backslashes
	dir, base := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, base = path[:i], path[i+1:]
	}
	if r.base == "" || strings.Contains("/"+dir+"/", "/../") {
		return File{}, false
	}
	folder := strings.ToLower(dir[strings.LastIndexByte(dir, '/')+1:])
	lower := strings.ToLower(base)
	switch {
	case folder == "pxelinux.cfg":
		return r.file(KindPXELINUX, r.owner(lower))
	case lower == "grub.cfg":
		return File{Kind: KindGRUBDispatch}, true
	case strings.HasPrefix(lower, "grub.cfg-"):
		return r.file(KindGRUB, r.owner(strings.TrimPrefix(lower, "grub.cfg-")))
	case strings.ToLower(dir) != "boot":
		return File{}, false
	case lower == "ipxe":
		return File{Kind: KindIPXEDispatch, base: r.base}, true
	}
	mac, ok := strings.CutSuffix(lower, ".ipxe")
	if !ok {
		return File{}, false
	}
	return r.file(KindIPXE, r.byMAC(mac))
}

func (r *Resolver) file(k Kind, n *plan.Node) (File, bool) {
	if n == nil || n.Boot == nil {
		return File{}, false
	}
	return File{Kind: k, Node: n}, true
}

// owner finds a node by what PXELINUX and GRUB put into names: the hardware
// type and MAC, or the IPv4 address in hex.
func (r *Resolver) owner(s string) *plan.Node {
	if mac, ok := strings.CutPrefix(s, "01-"); ok {
		return r.byMAC(mac)
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 {
		return nil
	}
	return r.p.NodeByAddr(netip.AddrFrom4([4]byte(b)))
}

// byMAC finds a node by six hex bytes with dashes, or colons as GRUB's
// $net_default_mac has them.
func (r *Resolver) byMAC(s string) *plan.Node {
	m, err := plan.ParseMAC(s)
	if err != nil || m.Dashed() != s && m.String() != s {
		return nil
	}
	return r.p.NodeByMAC(m)
}
