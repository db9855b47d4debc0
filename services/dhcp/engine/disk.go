package engine

import (
	"net/netip"

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
	if b.pool == nil || b.state != bound {
		return 0
	}
	return b.stored - now - 1 // one second more is stored than is promised
}

// unwritten reports whether q cannot be answered for b, its client's binding or
// nil, because nothing can be written, and tells so.
func (e *Engine) unwritten(q *request, b *binding) bool {
	if !e.unwritable || b != nil && b.mac == q.MAC && b.left(q.now) >= leastLeft {
		return false
	}
	e.count.Refused++
	e.tell(q, timeline.DHCPRefused, netip.Addr{}, "pool leases cannot be stored, so there is no address for this machine; see `helperd status`")
	return true
}

// Stored notes that r is on disk, so that its client is told.
func (e *Engine) Stored(r *Record) {
	b := e.table.at(r.Address)
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
	b := e.table.at(r.Address)
	if b == nil || b.version != r.version {
		return
	}
	if b.state == declined || b.ended == b.version || b.promised > 0 {
		e.unstored[b.addr()] = struct{}{}
	}
	if b.state == bound {
		e.table.set(b, bound, max(b.promised, min(b.expires, now+holdFor)))
	}
}

// Unstored gives new records of what Lost had to leave, and forgets it.
func (e *Engine) Unstored() (records []Record) {
	for a := range e.unstored {
		b := e.table.at(a)
		if b == nil || b.state == held {
			continue // somebody else's soon, with a record of its own
		}
		ended := b.ended == b.version
		records = append(records, b.record())
		if ended {
			e.end(b)
		}
	}
	clear(e.unstored)
	return records
}
