package plan

import (
	"fmt"
	"slices"
	"strings"
)

// isoPath is where the ISOs of nodes are.
const isoPath = "/iso/"

// isos derives the ISO of each node that boots from here.
func (b *builder) isos() {
	h := &b.p.HTTP
	for _, n := range b.p.Nodes {
		if n.Boot == nil {
			continue
		}
		set := b.boots(n.Boot.Artifact, n.Arch)
		i := ISO{Path: isoPath + n.FQDN + ".iso", Node: n, Args: isoArgs(n.Boot.Args), Base: set.File(PartISO)}
		for j := range h.Ignition {
			if g := &h.Ignition[j]; n.Boot.Ignition == n.Boot.BaseURL+g.Path {
				i.Ignition = g
			}
		}
		i.Problem = noISO(&i, set)
		h.ISOs = append(h.ISOs, i)
	}
}

// noISO says why a node has no ISO and what to do; empty: it has one.
func noISO(i *ISO, set *Set) string {
	disk := func(arg string) bool { return strings.HasPrefix(arg, "coreos.inst.install_dev=") }
	switch n := i.Node; {
	case n.Arch != "x86_64" && n.Arch != "aarch64":
		return fmt.Sprintf("%s is of arch %s: ISOs of x86_64 and aarch64 alone are written to; boot it from the network", n.Name, n.Arch)
	case set.File(PartRootfs) == nil:
		return fmt.Sprintf("artifact %s is of 4.5 or earlier, whose ISO has no place for an ignition file; boot %s from the network", set.Artifact, n.Name)
	case i.Base == nil:
		return fmt.Sprintf("artifact %s has no ISO; write iso: {file: /PATH} with the live ISO of the same release", set.Artifact)
	case !slices.ContainsFunc(i.Args, disk):
		return fmt.Sprintf("%s has no install_disk; write install_disk: /dev/DISK at the node or its cluster", n.Name)
	}
	return ""
}

// fetchedArgs begin the kernel arguments that name what a netboot fetches: the ISO has that on it.
var fetchedArgs = []string{"coreos.live.rootfs_url=", "coreos.inst.ignition_url=", "coreos.inst.image_url=", "coreos.inst="}

func isoArgs(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		return slices.ContainsFunc(fetchedArgs, func(prefix string) bool { return strings.HasPrefix(arg, prefix) })
	})
}

// ISOOf finds the ISO of n; nil: n boots nothing from here.
func (p *Plan) ISOOf(n *Node) *ISO {
	i := slices.IndexFunc(p.HTTP.ISOs, func(i ISO) bool { return i.Node == n })
	if i < 0 {
		return nil
	}
	return &p.HTTP.ISOs[i]
}

// ISOAt finds the ISO that a URL path means, by the node's FQDN, or by its
// short name when only one cluster has it. Nil: none.
func (p *Plan) ISOAt(path string) *ISO {
	name, ok := strings.CutPrefix(path, isoPath)
	if !ok {
		return nil
	}
	if name, ok = strings.CutSuffix(name, ".iso"); !ok {
		return nil
	}
	if n := p.NodeByName(name); n != nil {
		return p.ISOOf(n)
	}
	return nil
}
