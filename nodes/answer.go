package nodes

import (
	"net/netip"
	"slices"

	"helperd/plan"
)

// Answer is what n's boot file says to the machine at addr. It decides (Boot)
// only when that machine may be n: a person who looks at the file, or another
// node, must neither take the token from a node that is installing nor spend
// its boot from disk. It waits while n's cluster is asked whether it lives: see Apply.
func (r *Registry) Answer(p *plan.Plan, n *plan.Node, addr netip.Addr) Script {
	r.await(n)
	if addr = addr.Unmap(); r.mayBe(p, n, addr) {
		return r.Boot(n, addr)
	}
	return r.Peek(n)
}

// mayBe reports whether the machine at addr may be n: it has n's address, or it
// is on a network of ours and nobody knows better. Foreign DHCP servers give addresses that we do not know.
func (r *Registry) mayBe(p *plan.Plan, n *plan.Node, addr netip.Addr) bool {
	if slices.Contains(n.Addresses(), addr) {
		return true
	}
	has := func(h plan.Host) bool { return slices.Contains(h.Addresses(), addr) }
	if p.NodeByAddr(addr) != nil || slices.Contains(p.Helper.Addresses(), addr) || slices.ContainsFunc(p.Hosts, has) {
		return false
	}
	if !slices.ContainsFunc(p.Networks, func(n plan.Network) bool { return n.Prefix.Contains(addr) }) || r.another(n, addr) {
		return false
	}
	r.proofsMu.Lock()
	defer r.proofsMu.Unlock()
	if mac, ok := r.holder(addr); ok {
		return slices.Contains(n.MACs, mac)
	}
	elsewhere := func(m plan.MAC) bool { return r.fresh(keyOf(m, addr)) }
	return !slices.ContainsFunc(n.MACs, elsewhere)
}

// Peek is what Boot would say now to a machine that proves nothing. It decides nothing.
func (r *Registry) Peek(n *plan.Node) Script {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch s := r.get(n); s.Phase {
	case Written, Installed:
		return Script{Disk: true}
	case Protected:
		return Script{Disk: r.protected(s, n)}
	case DiskBoot:
		failed := r.justSent(s) && s.Retries < maxRetries
		return Script{Disk: !failed || r.sameBoot(s) && s.Disk}
	}
	return Script{}
}
