package http

import (
	"errors"
	"fmt"
	nethttp "net/http"
	"net/netip"
	"strconv"

	"helperd/nodes"
	"helperd/plan"
	"helperd/timeline"
)

// tokenKey is the query parameter of the one-time token.
const tokenKey = "token"

// serveIgnition gives an ignition file to whom it belongs. Only a GET whose
// answer arrived whole consumes anything.
func (x *exchange) serveIgnition(g *plan.Ignition) {
	n, err := x.entitled(g)
	switch {
	case errors.Is(err, nodes.ErrNotYet):
		x.count.refused.Add(1)
		x.notYet(timeline.IgnitionRefused, err.Error())
		return
	case err != nil:
		x.count.refused.Add(1)
		x.host.Events.Emit(timeline.Event{Kind: timeline.IgnitionRefused, Addr: x.addr, File: x.path, Detail: err.Error()})
		x.text(nethttp.StatusForbidden, err.Error()+"\n")
		return
	}
	body, err := x.host.Nodes.Ignition.Read(g, n)
	if err != nil {
		x.notYet(timeline.IgnitionRefused, err.Error())
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/vnd.coreos.ignition+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	x.w.WriteHeader(nethttp.StatusOK)
	if x.r.Method == nethttp.MethodHead {
		return
	}
	if _, err = x.w.Write(body); err == nil {
		err = x.w.flush()
	}
	if err == nil {
		err = x.delivered()
	}
	if err != nil {
		x.broke(int64(len(body)))
		return
	}
	x.count.ignition.Add(1)
	x.host.Events.Emit(timeline.Event{Kind: timeline.IgnitionServed, Addr: x.addr, File: x.path, Bytes: int64(len(body)), Total: int64(len(body))})
	if n != nil {
		x.host.Nodes.IgnitionFetched(n)
	}
}

// entitled gives the node that may have g and asks for it; with an open gate it
// may be nil. The error says why not, and what to do; with nodes.ErrNotYet in its chain it passes.
func (x *exchange) entitled(g *plan.Ignition) (*plan.Node, error) {
	n := nodeAt(g.Nodes, x.addr)
	if g.Open {
		if !x.state.machine(x.addr) {
			return nil, fmt.Errorf("%s is in none of the machine networks; add its network to `networks:`", x.addr)
		}
		return n, nil
	}
	switch other := x.state.nodes[x.addr]; {
	case n != nil:
		return n, x.host.Nodes.Admit(n, x.addr, x.r.URL.Query().Get(tokenKey))
	case other == nil:
		return nil, fmt.Errorf("%s is the address of no node, and this file goes to %s alone; "+
			"check the node's `ip` in the configuration and the address it really has, or set `ignition_gate: open`", x.addr, whose(g))
	case other.Cluster != nil && other.Cluster.Zone != g.Cluster:
		return nil, fmt.Errorf("%s is node %s, and this file goes to nodes of %s alone; boot it from the network again", x.addr, other.FQDN, g.Cluster)
	case g.Node != nil:
		return nil, fmt.Errorf("%s is node %s, and this file goes to node %s alone; boot it from the network again", x.addr, other.Name, g.Node.Name)
	default:
		return nil, fmt.Errorf("%s is node %s of role %s, and this file goes to role %s alone; boot it from the network again, or correct its `role`",
			x.addr, other.Name, other.Role, g.Role)
	}
}

// whose says to people whom g is for.
func whose(g *plan.Ignition) string {
	if g.Node != nil {
		return "node " + g.Node.FQDN
	}
	return fmt.Sprintf("nodes of role %s in %s", g.Role, g.Cluster)
}

func nodeAt(nodes []*plan.Node, a netip.Addr) *plan.Node {
	for _, n := range nodes {
		if a.IsValid() && (n.IP == a || n.IP6 == a) {
			return n
		}
	}
	return nil
}
