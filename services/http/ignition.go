package http

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	nethttp "net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/files"
	"helperd/plan"
	"helperd/timeline"
)

const (
	// tokenKey is the query parameter of the one-time token.
	tokenKey = "token"
	// maxIgnition in bytes is far above any ignition file.
	maxIgnition = 64 << 20
)

// serveIgnition gives an ignition file to whom it belongs. Only a GET whose
// answer arrived whole consumes anything.
func (x *exchange) serveIgnition(g *plan.Ignition) {
	n, err := x.entitled(g)
	if err != nil {
		x.count.refused.Add(1)
		x.host.Events.Emit(timeline.Event{Kind: timeline.IgnitionRefused, Addr: x.addr, File: x.path, Detail: err.Error()})
		x.text(nethttp.StatusForbidden, err.Error()+"\n")
		return
	}
	body, err := readIgnition(g)
	if err != nil {
		x.host.Log.Warn("ignition file not readable", "file", g.File, "err", err)
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
// may be nil. The error says why not and what to do.
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
		return n, x.host.Nodes.CheckToken(n, x.r.URL.Query().Get(tokenKey))
	case other == nil:
		return nil, fmt.Errorf("%s is the address of no node, and this file goes to nodes of role %s in %s alone; "+
			"check the node's `ip` in the configuration and the address it really has, or set `ignition_gate: open`", x.addr, g.Role, g.Cluster)
	case other.Cluster != nil && other.Cluster.Zone != g.Cluster:
		return nil, fmt.Errorf("%s is node %s, and this file goes to nodes of %s alone; boot it from the network again", x.addr, other.FQDN, g.Cluster)
	default:
		return nil, fmt.Errorf("%s is node %s of role %s, and this file goes to role %s alone; boot it from the network again, or correct its `role`",
			x.addr, other.Name, other.Role, g.Role)
	}
}

func nodeAt(nodes []*plan.Node, a netip.Addr) *plan.Node {
	for _, n := range nodes {
		if a.IsValid() && (n.IP == a || n.IP6 == a) {
			return n
		}
	}
	return nil
}

// readIgnition reads g's file. The error names the role and the cluster, not
// the path: it goes to the client.
func readIgnition(g *plan.Ignition) ([]byte, error) {
	f, err := os.OpenFile(g.File, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s.ign of %s is not there yet; run `openshift-install create ignition-configs` and put it into the cluster's `ignition` folder", g.Role, g.Cluster)
	case err != nil:
		return nil, fmt.Errorf("%s.ign of %s is not readable: %w; give the user that helperd runs as the right to read it", g.Role, g.Cluster, files.Cause(err))
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() == 0 {
		return nil, fmt.Errorf("%s.ign of %s is empty or not a file; run `openshift-install create ignition-configs` again", g.Role, g.Cluster)
	}
	body, err := io.ReadAll(io.LimitReader(f, maxIgnition))
	if err != nil || int64(len(body)) != st.Size() {
		return nil, fmt.Errorf("%s.ign of %s is being written or too large; it is asked for again", g.Role, g.Cluster)
	}
	return body, sound(g, body)
}

// sound says why body is not to be served: a node that takes a broken or an
// expired file is written and never joins.
func sound(g *plan.Ignition, body []byte) error {
	end, err := expiry(body)
	if err != nil {
		return fmt.Errorf("%s.ign of %s is no ignition file: %w; run `openshift-install create ignition-configs` again", g.Role, g.Cluster, err)
	}
	if now := time.Now(); !end.IsZero() && now.After(end) && !g.Expired {
		return fmt.Errorf("a certificate in %s.ign of %s expired %s ago; run `openshift-install create ignition-configs` in a new folder and put the files there, or set `ignition_expired: serve`",
			g.Role, g.Cluster, now.Sub(end).Round(time.Minute))
	}
	return nil
}
