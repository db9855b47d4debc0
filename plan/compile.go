package plan

import (
	"fmt"
	"net/netip"

	"helperd/config"
)

// Compile derives the plan of a configuration that config.Load accepted. The
// diagnostics are those that only show once names and addresses are derived;
// with an error among them the plan must not be applied.
func Compile(c *config.Config, f Facts) (*Plan, config.Diagnostics) {
	b := &builder{c: c, facts: f, p: &Plan{}}
	b.topology()
	b.artifacts()
	b.boot()
	b.dns()
	b.ntp()
	b.dhcp()
	b.ra()
	b.http()
	b.tftp()
	b.ftp()
	b.lb()
	b.nfs()
	b.state()
	b.p.Admin = Admin{Socket: c.Admin.Socket, Listen: c.Admin.Listen.AddrPort}
	b.unserved()
	b.p.index()
	return b.p, b.ds.Sort()
}

// builder holds what the parts of Compile share.
type builder struct {
	c     *config.Config
	facts Facts
	p     *Plan
	ds    config.Diagnostics
}

func (b *builder) say(s config.Severity, path, format string, args ...any) {
	b.ds = append(b.ds, config.Diagnostic{Position: b.c.Pos(path), Severity: s, Message: fmt.Sprintf(format, args...)})
}

func (b *builder) later(service, format string, args ...any) {
	b.p.Unserved = append(b.p.Unserved, Unserved{service, fmt.Sprintf(format, args...)})
}

// topology takes over the machines of the file and joins them.
func (b *builder) topology() {
	h := b.c.Helper
	b.p.Helper = Helper{Name: h.Name, Address: h.Address, Address6: h.Address6}
	for _, n := range b.c.Networks {
		b.p.Networks = append(b.p.Networks, Network{Prefix: n.CIDR, Interface: n.Interface, Gateway: n.Gateway})
	}
	for _, cc := range b.c.Clusters {
		cl := &Cluster{Name: cc.Name, Zone: cc.Name + "." + cc.Domain, Address: cc.Address}
		for _, cn := range cc.Nodes {
			n := &Node{
				Name: cn.Name, FQDN: cn.Name + "." + cl.Zone, Cluster: cl, Role: Role(cn.Role),
				MACs: cn.MAC, UUID: cn.UUID, ID: cn.ClientID, IP: cn.IP, IP6: cn.IP6, Arch: cn.Arch, Ingress: cn.Ingress != nil && *cn.Ingress,
			}
			cl.Nodes = append(cl.Nodes, n)
			b.p.Nodes = append(b.p.Nodes, n)
		}
		b.p.Clusters = append(b.p.Clusters, cl)
	}
	for _, h := range b.c.Hosts {
		b.p.Hosts = append(b.p.Hosts, Host{Name: h.Name, IP: h.IP, IP6: h.IP6, MACs: h.MAC, UUID: h.UUID, ID: h.ClientID})
	}
}

// networkOf finds the network of the file that a lies in, or nil.
func (b *builder) networkOf(a netip.Addr) *config.Network {
	for i := range b.c.Networks {
		if n := &b.c.Networks[i]; a.IsValid() && n.CIDR.Contains(a) {
			return n
		}
	}
	return nil
}

// prefixes are the machine networks.
func (b *builder) prefixes() []netip.Prefix {
	ps := make([]netip.Prefix, 0, len(b.p.Networks))
	for _, n := range b.p.Networks {
		ps = append(ps, n.Prefix)
	}
	return ps
}

// listen gives the sockets of a service: the address that was written, else
// all of the helper's.
func (b *builder) listen(written netip.Addr, port int) []netip.AddrPort {
	if written.IsValid() {
		return []netip.AddrPort{netip.AddrPortFrom(written, uint16(port))}
	}
	var out []netip.AddrPort
	for _, a := range b.p.Helper.Addresses() {
		out = append(out, netip.AddrPortFrom(a, uint16(port)))
	}
	return out
}

// addressesOf are where the balancer of cl is reached: with the helper's
// address comes the helper's IPv6 address.
func (b *builder) addressesOf(cl *Cluster) []netip.Addr {
	if cl.Address == b.p.Helper.Address {
		return b.p.Helper.Addresses()
	}
	return addresses(cl.Address)
}
