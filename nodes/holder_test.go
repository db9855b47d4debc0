package nodes

import (
	"net/netip"
	"testing"
	"time"

	"helperd/plan"
)

// An address means a node as long as DHCP proves it, and the last that it was given to.
func TestHolder(t *testing.T) {
	g := newRig(t)
	p := &plan.Plan{Nodes: []*plan.Node{g.node}}
	pool, own := netip.MustParseAddr("10.0.0.99"), g.node.IP
	if n := g.Holder(p, own); n != nil {
		t.Errorf("%s without a proof: the file's address is not enough", n.Name)
	}
	g.Acked(g.node.MACs[0], pool)
	if n := g.Holder(p, netip.MustParseAddr("::ffff:10.0.0.99")); n != g.node {
		t.Errorf("got %v, want the node", n)
	}
	if n := g.Holder(&plan.Plan{}, pool); n != nil {
		t.Errorf("%s has left the file", n.Name)
	}
	g.Acked(plan.MAC{9}, pool)
	if n := g.Holder(p, pool); n != nil {
		t.Errorf("%s: another machine has the address now", n.Name)
	}
	g.Acked(g.node.MACs[0], own)
	g.wait(16 * time.Minute)
	if n := g.Holder(p, own); n != nil {
		t.Errorf("%s: the proof is too old", n.Name)
	}
}
