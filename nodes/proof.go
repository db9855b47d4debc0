package nodes

import (
	"net/netip"
	"time"

	"helperd/plan"
)

type proof struct {
	addr netip.Addr
	at   time.Time
}

// Acked notes that DHCP gave addr to mac. Who had addr before has it no more.
func (r *Registry) Acked(mac plan.MAC, addr netip.Addr) {
	r.proofsMu.Lock()
	defer r.proofsMu.Unlock()
	if before, ok := r.holders[addr]; ok {
		delete(r.proofs, before)
	}
	if before, ok := r.proofs[mac]; ok {
		delete(r.holders, before.addr)
	}
	r.proofs[mac], r.holders[addr] = proof{addr, r.now()}, mac
}

// fresh reports whether mac's proof still holds; the caller has the lock.
func (r *Registry) fresh(mac plan.MAC) bool {
	p, ok := r.proofs[mac]
	return ok && r.now().Sub(p.at) < proofHolds
}

// Holder is the node whose MAC DHCP gave addr to within the last 15 minutes, or nil.
func (r *Registry) Holder(p *plan.Plan, addr netip.Addr) *plan.Node {
	r.proofsMu.Lock()
	defer r.proofsMu.Unlock()
	if mac, ok := r.holders[addr.Unmap()]; ok && r.fresh(mac) {
		return p.NodeByMAC(mac)
	}
	return nil
}

// Proven reports whether DHCP gave addr to a MAC of n within the last 15 minutes.
func (r *Registry) Proven(n *plan.Node, addr netip.Addr) bool {
	r.proofsMu.Lock()
	defer r.proofsMu.Unlock()
	for _, m := range n.MACs {
		if r.fresh(m) && r.proofs[m].addr == addr.Unmap() {
			return true
		}
	}
	return false
}
