package plan

import (
	"cmp"

	"helperd/config"
)

// unserved names what the file asks for and this version does not do. What is
// on by default and not written is not missed by anybody.
func (b *builder) unserved() {
	for i := range b.c.Networks {
		b.unservedNetwork(&b.c.Networks[i])
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

func (b *builder) unservedNetwork(n *config.Network) {
	if n.CIDR.Addr().Is6() && Mode(n.DHCP.Mode) == ModeProxy {
		b.later("networks", "%s: there is no proxy DHCP in IPv6 and nothing is answered there; write mode: server or off", n.CIDR)
	}
}

func (b *builder) unservedArtifact(a config.Artifact) {
	if fact := b.facts.Streams[a.Stream]; a.Stream != (Origin{}) && fact.Stream == nil {
		why := cmp.Or(fact.Problem, "the daemon reads it when it runs")
		b.later("artifacts", "%s: its stream is not read yet, and until then its clusters boot nothing from here: %s", a.Name, why)
	}
}
