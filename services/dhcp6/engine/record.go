package engine

import (
	"net/netip"
	"slices"

	"helperd/state"
	"helperd/timeline"
)

// leastLeft is the shortest time in seconds that is promised of a lease on disk
// while nothing can be written: as long as an offer is held.
const leastLeft = holdFor

// SetWritable says whether the disk takes leases. While it does not, a client is
// promised what the disk has of its lease already, and one that it has nothing of
// is not answered.
func (e *Engine) SetWritable(yes bool) { e.unwritable = !yes }

// left is for how many seconds from now the disk has b as its client's.
func (b *binding) left(now int64) int64 {
	if b == nil || b.pool == nil || b.state != bound {
		return 0
	}
	return b.stored - now - 1 // one second more is stored than is promised
}

// unwritten reports whether q cannot be answered for b, its client's binding or
// nil, because nothing can be written, and tells so.
func (e *Engine) unwritten(q *request, b *binding) bool {
	if !e.unwritable || b.left(q.now) >= leastLeft {
		return false
	}
	e.count.Refused++
	e.tell(q, timeline.DHCPRefused, netip.Addr{}, "pool leases cannot be stored, so there is no address for this machine; see `helperd status`")
	return true
}

// Stored notes that r is on disk, so that its client is told.
func (e *Engine) Stored(r *Record) {
	b := e.table.byAddr[r.Address]
	if b == nil {
		return
	}
	if r.version > b.ended {
		b.promised = max(b.promised, r.Expires.Unix())
		if b.state == bound && b.expires < b.promised {
			e.table.set(b, bound, b.promised) // a later record was lost, and with it what this one promises
		}
	}
	if b.version == r.version {
		b.stored = r.Expires.Unix()
	}
}

// Lost notes that r could not be stored: its client was told nothing, so what
// it was promised before counts, or the address is held only as long as an offer
// is. What is on disk of a lease that ended or moved is to be written again.
func (e *Engine) Lost(r *Record, now int64) {
	b := e.table.byAddr[r.Address]
	if b == nil || b.version != r.version {
		return
	}
	if b.state == declined || b.ended == b.version || b.promised > 0 {
		e.unstored[b.addr] = struct{}{}
	}
	if b.state == bound {
		e.table.set(b, bound, max(b.promised, min(b.expires, now+holdFor)))
	}
}

// Unstored gives new records of what Lost had to leave, and forgets it.
func (e *Engine) Unstored() (records []Record) {
	for a := range e.unstored {
		b := e.table.byAddr[a]
		if b == nil || b.state == held {
			continue // somebody else's soon, with a record of its own
		}
		ended := b.ended == b.version
		records = append(records, b.record())
		if ended {
			b.end()
		}
	}
	clear(e.unstored)
	return records
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
