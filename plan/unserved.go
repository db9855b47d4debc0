package plan

import (
	"cmp"
	"fmt"
	"net/netip"

	"helperd/config"
)

// unserved names what the file asks for and this version does not do. What is
// on by default and not written is not missed by anybody.
func (b *builder) unserved() {
	for i := range b.c.Networks {
		b.unservedNetwork(fmt.Sprintf("networks[%d]", i), &b.c.Networks[i])
	}
	for _, a := range b.c.Artifacts {
		b.unservedArtifact(a)
	}
	if len(b.p.NFS.Exports) > 0 {
		b.later("nfs", "exports are checked and not served yet; keep the NFS server of the system")
	}
	if b.c.History.Remote != "" {
		b.later("history", "configuration is not pulled from %s yet", b.c.History.Remote)
	}
	if b.c.Written("admin.listen") {
		b.later("admin", "listen: of the web UI only the balancer's table is there, http://%s/; for all else use the command line", b.c.Admin.Listen)
	}
}

func (b *builder) unservedNetwork(at string, n *config.Network) {
	if n.CIDR.Addr().Is4() {
		if Mode(n.DHCP.Mode) == ModeProxy {
			b.later("networks", "%s: dhcp mode proxy is not served yet; machines get no boot information from here", n.CIDR)
		}
		return
	}
	if b.c.Written(at+".dhcp") && Mode(n.DHCP.Mode) != ModeOff || b.wantsDHCPv6(n.CIDR) {
		b.later("networks", "%s: there is no DHCPv6 yet; nodes with static: true get their IPv6 address on the kernel command line", n.CIDR)
	}
}

// wantsDHCPv6 reports whether a machine in p has a MAC and waits for its address.
func (b *builder) wantsDHCPv6(p netip.Prefix) bool {
	for _, c := range b.c.Clusters {
		for _, n := range c.Nodes {
			if len(n.MAC) > 0 && !n.Static && n.IP6.IsValid() && p.Contains(n.IP6) {
				return true
			}
		}
	}
	for _, h := range b.c.Hosts {
		if len(h.MAC) > 0 && h.IP6.IsValid() && p.Contains(h.IP6) {
			return true
		}
	}
	return false
}

func (b *builder) unservedArtifact(a config.Artifact) {
	if fact := b.facts.Streams[a.Stream]; a.Stream != (Origin{}) && fact.Stream == nil {
		why := cmp.Or(fact.Problem, "the daemon reads it when it runs")
		b.later("artifacts", "%s: its stream is not read yet, and until then its clusters boot nothing from here: %s", a.Name, why)
	}
}
