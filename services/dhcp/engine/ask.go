package engine

import (
	"net/netip"
	"slices"

	"helperd/services/dhcp/packet"
	"helperd/timeline"
)

// Why a client gets a DHCPNAK; it sees the text too (option 56).
const (
	nakReserved = "another address is reserved for this machine"
	nakGone     = "the offered address has been given away"
	nakOther    = "this client has another address"
	nakNetwork  = "the address is not of this network"
	nakTaken    = "the address is another machine's"
	nakMoved    = "the address is not in the pool any more"
)

// ask decides a DHCPREQUEST: in SELECTING it names a server, in INIT-REBOOT an
// address that the client remembers, in RENEWING and REBINDING the one it has
// (RFC 2131 section 4.3.2).
func (e *Engine) ask(q *request) {
	if !e.addressed(q) {
		e.choseOther(q)
		return
	}
	want := q.Requested
	if !want.IsValid() {
		want = q.Client
	}
	switch {
	case !want.IsValid():
	case q.reservation != nil && want != q.reservation.Address:
		e.nak(q, nakReserved)
	case q.reservation != nil:
		if !e.occupied(q) {
			e.ack(q, want, seconds(q.subnet.ReservationLease))
		}
	case !e.refused(q):
		e.askPool(q, want)
	}
}

// choseOther frees what was offered to a client that took another server's
// offer. Its word alone is easily forged and must not lock out the clients of
// the pool: it is a reason to ask on the link who else answers. A server shows
// itself by its offer. On a network behind a relay it cannot be heard, so the word
// counts there.
func (e *Engine) choseOther(q *request) {
	if b := e.table.find(q.subnet, q.MAC, q.id); b != nil && b.state == held {
		e.table.set(b, held, min(b.expires, q.now))
	}
	if !slices.Contains(q.link, q.subnet) {
		e.heard(q.subnet, Foreign{Server: q.Server}, q.now, q.answer)
		return
	}
	if f, ok := e.rival(q.subnet, q.now); ok && f.Server == q.Server {
		return // known
	}
	if last, ok := e.probed[q.subnet.Prefix]; ok && q.now-last < hearsayEvery {
		return
	}
	e.probed[q.subnet.Prefix] = q.now
	q.answer.Probe = true
	q.answer.Events = append(q.answer.Events, timeline.Event{
		Kind: timeline.DHCPForeign, Addr: q.Server,
		Detail: "MAC " + q.MAC.String() + " chose the offer of another DHCP server on network " + q.subnet.Prefix.String() + "; asking whether there is one",
	})
}

func (e *Engine) askPool(q *request, want netip.Addr) {
	b := e.table.find(q.subnet, q.MAC, q.id)
	known := b != nil && b.state == bound // an offer that was not taken is no record of the client
	switch {
	case b != nil && b.addr() == want && b.pool != nil:
		e.bind(q, b)
	case q.Server.IsValid() && !(known && b.pool != nil && b.live(q.now)): // one address is enough
		// It was ours when we offered it: before a restart, or in a flood.
		if b = e.table.take(q.subnet, q.MAC, q.id, want, q.now); b != nil {
			e.bind(q, b)
		} else {
			e.nak(q, nakGone)
		}
	case known && b.addr() == want:
		e.nak(q, nakMoved)
	case known:
		e.nak(q, nakOther)
	case !q.subnet.Prefix.Contains(want) && (q.Relay.IsValid() || !onLink(q.link, want)):
		e.nak(q, nakNetwork)
	case e.taken(want, q.now):
		e.nak(q, nakTaken)
	}
	// Otherwise nothing is known of the client and its address may be right: silence (RFC 2131 section 4.3.2).
}

// taken reports whether somebody else certainly has a.
func (e *Engine) taken(a netip.Addr, now int64) bool {
	b := e.table.at(a)
	return len(e.policy.owners[a]) > 0 || b != nil && b.state == bound && b.live(now)
}

// bind gives the client its pool address for the full time, which must be on
// disk before the answer goes. A lease on disk that is good for three quarters
// of the time is promised for what is left instead: firmware, loader and system
// ask within one minute.
func (e *Engine) bind(q *request, b *binding) {
	full := seconds(q.subnet.PoolLease)
	name := hostname(q.Hostname)
	left := min(b.left(q.now), full)
	same := b.mac == q.MAC && (len(q.id) == 0 || b.id == string(q.id)) && (name == "" || name == b.hostname)
	switch {
	case e.unwritten(q, b):
		return
	case e.unwritable, same && left >= full-full/4:
		e.ack(q, b.addr(), left)
		return
	case b.mac != q.MAC:
		b.stored = 0 // the disk has it as another machine's until the record is there
	}
	e.table.own(b, q.MAC, q.id)
	if name != "" {
		b.hostname = name
	}
	// One second more than is promised: times are cut to seconds.
	e.table.set(b, bound, q.now+full+1)
	e.record(q, b)
	e.ack(q, b.addr(), full)
}

// hostname gives the client's name if it is one that can be shown to people; else nothing.
func hostname(b []byte) string {
	if len(b) > 255 {
		return ""
	}
	for _, c := range b {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
		if !ok {
			return ""
		}
	}
	return string(b)
}

func (e *Engine) ack(q *request, addr netip.Addr, lease int64) {
	file := e.write(q, packet.Ack, addr, lease)
	q.answer.Acked = addr
	e.repay(q)
	e.tell(q, timeline.DHCPAck, addr, file)
}

func (e *Engine) nak(q *request, reason string) {
	e.writeNak(q, reason)
	addr := q.Requested
	if !addr.IsValid() {
		addr = q.Client
	}
	e.tell(q, timeline.DHCPNak, addr, reason)
}
