package plan

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"helperd/config"
)

// ignition gives one entry for each role that the cluster has, and one for each node.
func (b *builder) ignition(cl *Cluster, cc *config.Cluster) []Ignition {
	if cc.Ignition == "" {
		return nil
	}
	entry := func(name string, role Role) Ignition {
		return Ignition{
			Path: ignitionPath(cl, name), File: filepath.Join(cc.Ignition, string(role)+".ign"),
			Cluster: cl.Zone, Role: role, Open: cc.IgnitionGate == "open", Expired: cc.IgnitionExpired == "serve",
		}
	}
	var out []Ignition
	for _, role := range roles {
		e := entry(string(role), role)
		for _, n := range cl.Nodes {
			if n.Role == role {
				e.Nodes = append(e.Nodes, n)
			}
		}
		if len(e.Nodes) > 0 {
			out = append(out, e)
		}
	}
	for i, n := range cl.Nodes {
		if slices.Contains(roles, Role(n.Name)) {
			continue // the name is that of a role's file
		}
		e := entry(n.Name, n.Role)
		e.Nodes, e.Node, e.Keyfiles = []*Node{n}, n, b.keyfiles(n, &cc.Nodes[i])
		out = append(out, e)
	}
	return out
}

func ignitionPath(cl *Cluster, name string) string {
	return path.Join("/ignition", cl.Zone, name+".ign")
}

// gate warns of ignition files that more than their nodes get, and of nodes that
// get theirs only after a person vouched for them.
func (b *builder) gate(at string, cl *Cluster, cc *config.Cluster) {
	if cc.Ignition == "" {
		return
	}
	b.shown(at, cl, cc)
	if cc.IgnitionGate == "open" {
		b.say(config.Warning, at+".ignition_gate", "cluster %q: ignition_gate is open: every machine of the networks may fetch the cluster's secrets; remove it unless nodes are installed in a way that helperd cannot follow", cl.Name)
		return
	}
	for j, n := range cl.Nodes {
		if why := b.unproven(n); why != "" {
			b.say(config.Warning, fmt.Sprintf("%s.nodes[%d]", at, j),
				"node %q: nobody can prove that the machine at its address is the node (%s), so its ignition file is refused until `helperd nodes arm %s`; "+
					"let helperd give it its address, or run that just before it is installed", n.Name, why, n.Name)
		}
	}
}

// shown refuses a folder of ignition files that everybody is shown, past the gate.
func (b *builder) shown(at string, cl *Cluster, cc *config.Cluster) {
	for _, r := range b.roots() {
		if r.holds(cc.Ignition) {
			b.say(config.Error, at+".ignition", "cluster %q: ignition %s lies in %s, %s, so everybody could fetch the cluster's secrets; move it to a folder of its own, such as /srv/ignition/%s",
				cl.Name, cc.Ignition, r.key, r.folder, cl.Name)
		}
	}
}

// unproven says why neither our DHCP nor the neighbour table proves who has n's address; empty: one of them does.
func (b *builder) unproven(n *Node) string {
	if len(n.MACs) == 0 {
		return "it has no mac"
	}
	why := "it has no address in a network of the file"
	for _, a := range n.Addresses() {
		i := slices.IndexFunc(b.c.Networks, func(w config.Network) bool { return w.CIDR.Contains(a) })
		if i < 0 {
			continue
		}
		network := &b.c.Networks[i]
		if b.dhcpMode(i) == ModeServer || b.local(network) {
			return ""
		}
		why = fmt.Sprintf("%s is behind a router, and helperd gives no addresses there: dhcp mode is %s", network.CIDR, network.DHCP.Mode)
	}
	return why
}

// local reports whether the helper is on the network, so that its neighbour table knows the machines there.
func (b *builder) local(network *config.Network) bool {
	return network.Interface != "" || slices.ContainsFunc(b.p.Helper.Addresses(), network.CIDR.Contains)
}
