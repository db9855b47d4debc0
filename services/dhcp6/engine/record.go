package engine

import (
	"slices"

	"helperd/state"
)

// Stored notes that r is on disk, so that its client is told.
func (e *Engine) Stored(r *Record) {
	b := e.table.byAddr[r.Address]
	if b == nil {
		return
	}
	if r.version > b.ended {
		b.promised = max(b.promised, r.Expires.Unix())
	}
	if b.version == r.version {
		b.stored = r.Expires.Unix()
	}
}

// Lost notes that r could not be stored: its client was told nothing, so what
// it was promised before counts, or the address is held only as long as an offer is.
func (e *Engine) Lost(r *Record, now int64) {
	if b := e.table.byAddr[r.Address]; b != nil && b.version == r.version && b.state == bound {
		e.table.set(b, bound, max(b.promised, min(b.expires, now+holdFor)))
	}
}

// Stepped says that the clock was set by this many seconds. What runs here runs
// on: a client counts the time of its lease by itself. The records are those
// that must be written again; the disk has them in the time of before.
func (e *Engine) Stepped(by, now int64) (records []Record) {
	for _, b := range e.table.byAddr {
		b.expires += by
		b.stored = 0
		if b.promised > 0 {
			b.promised += by
		}
		if b.state != held && b.live(now) {
			records = append(records, b.record())
		}
	}
	e.limits = newLimits()
	return records
}

// Leases are the pool addresses in use and in quarantine, ordered by address.
func (e *Engine) Leases(now int64) []state.Lease {
	out := []state.Lease{}
	for _, b := range e.table.byAddr {
		if b.state != held && b.live(now) {
			out = append(out, b.lease())
		}
	}
	slices.SortFunc(out, func(a, b state.Lease) int { return a.Address.Compare(b.Address) })
	return out
}
