package nodes

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"time"

	"helperd/internal/guard"
	"helperd/plan"
)

const (
	portAPI           = 6443
	portMachineConfig = 22623
	portKubelet       = 10250

	// probeEvery is the time between two questions to a node that waits for evidence.
	probeEvery = 10 * time.Second
	// probeTime is how long a node may take to answer.
	probeTime = 2 * time.Second
	// probesAtOnce bounds the questions that are open.
	probesAtOnce = 32
	// lookFor is how long after a start without state nodes are asked of which nothing is known.
	lookFor = 15 * time.Minute
)

// Probe asks nodes that wait for evidence whether their system answers, until
// ctx ends, and sees the questions of Apply to their end. The balancer knows only of masters that it balances to; a worker has its
// kubelet. The live installer listens on none of these ports.
func (r *Registry) Probe(ctx context.Context) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	defer r.asking.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if p := r.plan.Load(); p != nil {
				r.probe(ctx, p)
			}
		}
	}
}

// guard gives a group whose panics are logged: who is not asked must not go unnoticed.
func (r *Registry) guard() *guard.Group {
	return guard.New(func(name string, value any, stack []byte) {
		r.log.Error("panic", "goroutine", name, "err", value, "stack", string(stack))
	})
}

// probe asks all nodes that wait, once.
func (r *Registry) probe(ctx context.Context, p *plan.Plan) {
	asking, free := r.guard(), make(chan struct{}, probesAtOnce)
	for _, n := range p.Nodes {
		if !r.waits(n) {
			continue
		}
		free <- struct{}{}
		asking.Go("probe "+n.FQDN, func() {
			defer func() { <-free }()
			if evidence := r.evidence(ctx, n); evidence != "" {
				r.Seen(n, evidence)
			}
		})
	}
	asking.Wait()
}

// waits reports whether evidence of n's system is waited for.
func (r *Registry) waits(n *plan.Node) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, now := r.get(n), r.now()
	switch s.Phase {
	case Written, DiskBoot, Protected:
		return true
	case Installing: // it may have been installed in another way
		return now.Sub(s.Decided) >= failedWithin
	case Armed:
		return !s.Ordered && (r.isoOpen(s) || !r.started.IsZero() && now.Sub(r.started) < lookFor)
	}
	return false
}

// evidence asks the ports of n that only an installed system opens; empty: none answers.
func (r *Registry) evidence(ctx context.Context, n *plan.Node) string {
	ports := []uint16{portKubelet}
	if n.Role == plan.Master || n.Role == plan.Bootstrap {
		ports = append(ports, portAPI, portMachineConfig)
	}
	for _, port := range ports {
		for _, a := range n.Addresses() {
			if r.speaks(ctx, netip.AddrPortFrom(a, port)) {
				return fmt.Sprintf("its %d answers", port)
			}
		}
	}
	return ""
}

// speaksTLS reports whether a server answers a TLS handshake.
func speaksTLS(ctx context.Context, server netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := (&tls.Dialer{Config: insecure()}).DialContext(ctx, "tcp", server.String())
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
