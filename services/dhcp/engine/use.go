package engine

import (
	"net/netip"
	"slices"

	"helperd/services/leasing"
)

// Uses says how full the networks are at Unix time now.
func (e *Engine) Uses(now int64) []leasing.Use {
	out := make([]leasing.Use, len(e.policy.subnets))
	for i, n := range e.policy.subnets {
		out[i] = leasing.Use{Network: n.Prefix, Pool: n.Pool}
		if p := e.table.pools[n.Prefix]; p != nil {
			p.use(&out[i], now)
		}
	}
	for a := range e.policy.owners {
		if n := e.policy.at(a); n != nil {
			out[slices.Index(e.policy.subnets, n)].Reserved++
		}
	}
	for a := range e.policy.barred {
		if n := e.policy.at(a); n != nil && n.Pool.Contains(a) {
			out[slices.Index(e.policy.subnets, n)].Size--
		}
	}
	return out
}

// use counts what has become of the addresses of p.
func (p *pool) use(u *leasing.Use, now int64) {
	u.Size = float64(size(p.subnet.Pool))
	for _, b := range p.holds {
		if b.live(now) {
			u.Offered++
		}
	}
	for _, b := range p.leases {
		switch {
		case !b.live(now):
		case b.state == declined:
			u.Declined++
		default:
			u.Leased++
		}
	}
}

// Free ends the lease or the quarantine of a at once, as the record says that is to
// be stored. False: nobody has it. Whoever had it gets it again if it asks while
// it is free.
func (e *Engine) Free(a netip.Addr, now int64) (Record, bool) {
	b := e.table.at(a)
	if b == nil || b.state == held || !b.live(now) {
		return Record{}, false
	}
	e.table.set(b, b.state, now)
	r := b.record()
	b.promised, b.stored, b.ended = 0, 0, b.version // the tenancy ends with the record
	return r, true
}

// reasons are those of a refusal that are counted.
var reasons = []string{refusedUnknown, refusedElsewhere, refusedBoot, refusedForeign, refusedBOOTP, "other"}

// ByReason are the refused machines by the reason.
func (c *Counts) ByReason() map[string]uint64 { return c.Reasons.By(reasons) }
