package nodes

import (
	"net/netip"
	"slices"
	"time"

	"helperd/plan"
)

// proof has no pointer, and needs little: a pool may have many thousands.
type proof struct {
	addr [16]byte
	at   time.Duration // since the registry was made
}

// proofKey is what has one proof: a machine with both IP versions has two.
type proofKey struct {
	mac plan.MAC
	six bool
}

func keyOf(mac plan.MAC, addr netip.Addr) proofKey { return proofKey{mac, addr.Is6()} }

// Acked notes that DHCP gave addr to mac. Who had addr before has it no more.
func (r *Registry) Acked(mac plan.MAC, addr netip.Addr) {
	r.proofsMu.Lock()
	defer r.proofsMu.Unlock()
	k, a := keyOf(mac, addr), addr.As16()
	if before, ok := r.holders[a]; ok && before != mac {
		delete(r.proofs, keyOf(before, addr))
	}
	if before, ok := r.proofs[k]; ok && before.addr != a {
		delete(r.holders, before.addr)
	}
	r.proofs[k], r.holders[a] = proof{a, r.now().Sub(r.made)}, mac
}

// holder is the MAC that addr was given to last, if that still proves anything; the caller has the lock.
func (r *Registry) holder(addr netip.Addr) (plan.MAC, bool) {
	mac, ok := r.holders[addr.As16()]
	return mac, ok && r.fresh(keyOf(mac, addr))
}

// fresh reports whether the proof of k still holds; the caller has the lock.
func (r *Registry) fresh(k proofKey) bool {
	p, ok := r.proofs[k]
	return ok && r.now().Sub(r.made)-p.at < proofHolds
}

// Holder is the node whose MAC DHCP gave addr to within the last 15 minutes, or nil.
func (r *Registry) Holder(p *plan.Plan, addr netip.Addr) *plan.Node {
	r.proofsMu.Lock()
	defer r.proofsMu.Unlock()
	if mac, ok := r.holder(addr.Unmap()); ok {
		return p.NodeByMAC(mac)
	}
	return nil
}

// Proven reports whether DHCP gave addr to a MAC of n within the last 15 minutes.
func (r *Registry) Proven(n *plan.Node, addr netip.Addr) bool {
	r.proofsMu.Lock()
	defer r.proofsMu.Unlock()
	return slices.ContainsFunc(n.MACs, func(m plan.MAC) bool {
		k := keyOf(m, addr.Unmap())
		return r.fresh(k) && r.proofs[k].addr == addr.As16()
	})
}
