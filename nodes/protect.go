package nodes

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"helperd/plan"
)

const (
	// askClusters is how long a start without state waits for clusters to answer:
	// as long as the kernel looks for a machine on a network (ARP, three times a second apart).
	askClusters = 3 * time.Second
	// askAgain is the pause after no machine was found at an address: it was looked for before it was there.
	askAgain = 50 * time.Millisecond
)

// Why a node is protected.
const (
	alive   = "/readyz of its cluster answers"
	expired = "the certificates of its cluster's ignition files have expired"
)

// Apply takes over the plan that is about to be served. Nodes of clusters of which nothing is known
// are protected if their cluster turns out to live. That is asked while all else is served already:
// an answer may take three seconds, and only their boot scripts wait for it, in Answer.
//
// A node that is gone from the file keeps its state: it is given nothing while it is gone, and is
// the same machine if it comes back with a MAC that it had.
func (r *Registry) Apply(ctx context.Context, p *plan.Plan) {
	r.plan.Store(p)
	r.clocks.forget(func(fqdn string) bool { return p.NodeByName(fqdn) == nil })
	defer r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stateless {
		r.stateless, r.started = false, r.now()
	}
	for _, cl := range p.Clusters {
		if r.asked[cl.Zone] != nil || r.knows(cl) {
			continue
		}
		answered := make(chan struct{})
		r.asked[cl.Zone] = answered
		r.log.Info("asking whether the cluster lives; its boot scripts wait", "cluster", cl.Zone)
		r.asking.Go("ask "+cl.Zone, func() {
			defer close(answered)
			r.protect(ctx, cl)
		})
	}
}

// knows reports whether there is state of a node of cl. The caller has the lock.
func (r *Registry) knows(cl *plan.Cluster) bool {
	return slices.ContainsFunc(cl.Nodes, func(n *plan.Node) bool { return r.nodes[n.FQDN] != nil })
}

// await returns once it is known whether n's cluster lives.
func (r *Registry) await(n *plan.Node) {
	if n.Cluster == nil {
		return
	}
	r.mu.Lock()
	answered := r.asked[n.Cluster.Zone]
	r.mu.Unlock()
	if answered != nil {
		<-answered
	}
}

// protect notes whether the nodes of cl must not be installed although nothing is known of them. It
// stores them all: a start after this one knows that the question was answered.
func (r *Registry) protect(ctx context.Context, cl *plan.Cluster) {
	why := ""
	switch {
	case r.lives(ctx, cl):
		why = alive
	case r.expired(cl):
		why = expired
	}
	defer r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asked, cl.Zone)
	if ctx.Err() != nil {
		return // not asked to the end: the next start does
	}
	r.log.Info("asked whether the cluster lives", "cluster", cl.Zone, "master_answers", why == alive)
	if why != "" {
		r.log.Warn("nothing is known of this cluster, and nothing is installed in it until `helperd nodes reinstall NAME`", "cluster", cl.Zone, "why", why)
	}
	for _, n := range r.plan.Load().Nodes {
		if n.Cluster == nil || n.Cluster.Zone != cl.Zone {
			continue
		}
		s := r.get(n)
		if why != "" && s.Phase == Armed && !s.Ordered && s.ISOToken == "" { // else a person has ordered it meanwhile
			r.enter(s, Protected)
			s.Protection = why
		}
		r.save(s)
	}
}

// protected reports whether what protects s's node still holds. New ignition files are those of a
// new cluster; one that answered was there.
func (r *Registry) protected(s *State, n *plan.Node) bool {
	return s.Phase == Protected && (s.Protection == alive || r.expired(n.Cluster))
}

// expired reports whether an ignition file of cl ended by its certificates.
func (r *Registry) expired(cl *plan.Cluster) bool {
	p := r.plan.Load()
	if p == nil || cl == nil {
		return false
	}
	for i := range p.HTTP.Ignition {
		g := &p.HTTP.Ignition[i]
		if g.Cluster == cl.Zone && g.Node == nil && (r.ended(g.File) || r.ended(g.Bootstrap())) {
			return true
		}
	}
	return false
}

func (r *Registry) ended(file string) bool {
	end := r.Ignition.Ends(file)
	return !end.IsZero() && r.now().After(end)
}

// answers reports whether the control plane of cl does. The bootstrap machine is not asked: while
// it alone answers, the cluster is being made.
func (r *Registry) answers(ctx context.Context, cl *plan.Cluster) bool {
	ctx, cancel := context.WithTimeout(ctx, askClusters)
	defer cancel()
	var masters []netip.AddrPort
	for _, n := range cl.Nodes {
		if n.Role == plan.Master {
			for _, a := range n.Addresses() {
				masters = append(masters, netip.AddrPortFrom(a, portAPI))
			}
		}
	}
	var found atomic.Bool
	asking := r.guard()
	for _, a := range masters {
		asking.Go("ask "+a.String(), func() {
			if readyz(ctx, a) {
				found.Store(true)
				cancel() // one is enough
			}
		})
	}
	asking.Wait()
	return found.Load()
}

// readyz reports whether an API server answers, whatever it says: one that is not ready is one. It
// asks until somebody answers or refuses, or ctx ends.
func readyz(ctx context.Context, server netip.AddrPort) bool {
	for {
		err := askReadyz(ctx, server)
		if err == nil || !errors.Is(err, unix.EHOSTUNREACH) {
			return err == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(askAgain):
		}
	}
}

func askReadyz(ctx context.Context, server netip.AddrPort) error {
	transport := &http.Transport{TLSClientConfig: insecure(), DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+server.String()+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// insecure is for questions whose answer is not believed in anything but that it came: there is no CA yet.
func insecure() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above
}
