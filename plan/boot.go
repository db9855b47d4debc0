package plan

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"helperd/config"
)

// boot derives what each node boots.
func (b *builder) boot() {
	for i, cl := range b.p.Clusters {
		cc := &b.c.Clusters[i]
		b.gate(fmt.Sprintf("clusters[%d]", i), cl, cc)
		a := b.artifact(cc.Artifacts)
		if a == nil {
			continue
		}
		b.kernelArgs(fmt.Sprintf("clusters[%d].kernel_args", i), cc.KernelArgs)
		for j, n := range cl.Nodes {
			at := fmt.Sprintf("clusters[%d].nodes[%d]", i, j)
			if set := b.boots(a.Name, n.Arch); set != nil {
				n.Boot = b.bootOf(n, cc, &cc.Nodes[j], set)
			}
			b.kernelArgs(at+".kernel_args", cc.Nodes[j].KernelArgs)
		}
	}
}

func (b *builder) artifact(name string) *config.Artifact {
	for i := range b.c.Artifacts {
		if a := &b.c.Artifacts[i]; a.Name == name {
			return a
		}
	}
	return nil
}

// kernelArgs warns of words that iPXE would take for its own; it has no quotes.
func (b *builder) kernelArgs(at string, args []string) {
	for i, a := range args {
		for _, w := range strings.Fields(a) {
			if w == "||" || w == "&&" || w[0] == '#' || strings.Contains(w, "${") {
				b.say(config.Warning, fmt.Sprintf("%s[%d]", at, i), "kernel argument %q: iPXE takes %q for a command of its own and the node does not see it; leave it out, or set it after the installation", a, w)
			}
		}
	}
}

func (b *builder) bootOf(n *Node, cc *config.Cluster, cn *config.Node, set *Set) *Boot {
	bt := &Boot{
		Artifact:  set.Artifact,
		Kernel:    set.path(PartKernel),
		Initramfs: set.path(PartInitramfs),
		Image:     set.image(),
		Others:    b.others(set),
		BaseURL:   b.baseURL(n),
	}
	if cc.Ignition != "" {
		bt.Ignition = bt.BaseURL + ignitionPath(n.Cluster, string(n.Role))
	}
	bt.Args = installerArgs(bt, cn.InstallDisk, set)
	bt.Args = append(bt.Args, b.networkArgs(n, cn)...)
	bt.Args = append(bt.Args, cc.KernelArgs...)
	bt.Args = append(bt.Args, cn.KernelArgs...)
	return bt
}

// installerArgs tell the installer of 4.6 and later, or with a metal image that
// of 4.5 and earlier, what to do.
func installerArgs(bt *Boot, disk string, set *Set) []string {
	if set.File(PartRootfs) == nil {
		ignition := bt.Ignition
		if ignition == "" {
			ignition = "skip" // the word for none
		}
		args := []string{"coreos.inst=yes"}
		if disk != "" {
			// This installer puts /dev/ before the name itself.
			args = append(args, "coreos.inst.install_dev="+strings.TrimPrefix(disk, "/dev/"))
		}
		return append(args, "coreos.inst.image_url="+bt.BaseURL+bt.Image, "coreos.inst.ignition_url="+ignition)
	}
	args := []string{"coreos.live.rootfs_url=" + bt.BaseURL + bt.Image}
	if disk != "" {
		args = append(args, "coreos.inst.install_dev="+disk)
	}
	if bt.Ignition != "" {
		args = append(args, "coreos.inst.ignition_url="+bt.Ignition)
	}
	return args
}

// networkArgs are dracut's (dracut.cmdline(7)), in the order that it reads them in.
func (b *builder) networkArgs(n *Node, cn *config.Node) []string {
	device := cn.NIC
	if name, _, ok := strings.Cut(cn.Bond, ":"); ok {
		device = name
	}
	if name, _, ok := strings.Cut(cn.VLAN, ":"); ok {
		device = name
	}
	method := "dhcp"
	if !n.IP.IsValid() {
		method = "dhcp6"
	}
	var args []string
	switch {
	case cn.Static:
		args = b.staticArgs(n, device)
	case device != "":
		args = []string{"ip=" + device + ":" + method}
	default:
		args = []string{"ip=" + method}
	}
	if cn.Bond != "" {
		args = append(args, "bond="+cn.Bond)
	}
	if cn.VLAN != "" {
		args = append(args, "vlan="+cn.VLAN)
	}
	return append(args, "rd.neednet=1")
}

// staticArgs give the node's addresses, name servers and the routes that DHCP
// would have told it.
func (b *builder) staticArgs(n *Node, device string) []string {
	var args, servers, routes []string
	for _, a := range n.Addresses() {
		network := b.networkOf(a)
		if network == nil {
			continue // config.Load refuses it
		}
		args = append(args, fmt.Sprintf("ip=%s::%s:%s:%s:%s:none", bracketed(a), bracketed(network.Gateway), mask(network.CIDR), n.FQDN, device))
		for _, s := range network.DNS {
			if arg := "nameserver=" + s.String(); !slices.Contains(servers, arg) {
				servers = append(servers, arg)
			}
		}
		for _, r := range network.Routes {
			routes = append(routes, routeArg(r, device))
		}
	}
	return slices.Concat(args, servers, routes)
}

// routeArg is rd.route=NET/BITS:GATEWAY[:DEVICE].
func routeArg(r config.Route, device string) string {
	to := r.To.String()
	if r.To.Addr().Is6() {
		to = "[" + to + "]"
	}
	return strings.TrimSuffix("rd.route="+to+":"+bracketed(r.Via)+":"+device, ":")
}

// bracketed is a as ip= wants it; colons separate its fields.
func bracketed(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Is6():
		return "[" + a.String() + "]"
	}
	return a.String()
}

// mask is the third field of ip=: a netmask for IPv4, a prefix length for IPv6.
func mask(p netip.Prefix) string {
	if p.Addr().Is6() {
		return fmt.Sprint(p.Bits())
	}
	return net.IP(net.CIDRMask(p.Bits(), 32)).String()
}

// baseURL is where n reaches the web server.
func (b *builder) baseURL(n *Node) string {
	host := b.p.Helper.Address
	switch written := b.c.HTTP.Listen; {
	case written.IsValid() && !written.IsUnspecified():
		host = written
	case !n.IP.IsValid() && b.p.Helper.Address6.IsValid():
		host = b.p.Helper.Address6
	}
	return "http://" + netip.AddrPortFrom(host, uint16(b.c.HTTP.Port)).String()
}

// baseURL6 is where machines reach the web server over IPv6; empty: nowhere.
func (b *builder) baseURL6() string {
	host := b.p.Helper.Address6
	if written := b.c.HTTP.Listen; written.IsValid() && written != netip.IPv6Unspecified() {
		host = written
	}
	if !b.c.HTTP.Enabled || !host.Is6() {
		return ""
	}
	return "http://" + netip.AddrPortFrom(host, uint16(b.c.HTTP.Port)).String()
}

func artifactPath(a *config.Artifact, part string) string {
	return path.Join("/artifacts", a.Name, part)
}
