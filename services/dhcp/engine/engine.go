package engine

import (
	"net/netip"
	"slices"

	"helperd/services/dhcp/packet"
	"helperd/services/leasing"
	"helperd/state"
	"helperd/timeline"
)

// Engine has all leases and decides every request. It is not safe for
// concurrent use: one writer drives it.
type Engine struct {
	policy  *Policy
	table   *table
	foreign map[netip.Prefix]Foreign
	sites   map[netip.Prefix]*site // of the networks with mode proxy
	rivals  map[netip.Prefix]Foreign
	probed  map[netip.Prefix]int64 // when a probe was asked for last
	notes   notes
	current request // in the engine, so that a request allocates nothing
	reply   packet.Reply
	scratch []byte // values of options of the reply under construction
	times   times  // likewise
	count   Counts

	unwritable bool
	unstored   map[netip.Addr]struct{} // what the disk has of them is out of date

	conflicts conflicts
	limits    *limits
}

// Counts are totals since the start.
type Counts struct {
	Received [packet.Inform + 1]uint64 // by message type; 0: BOOTP and unknown types
	Sent     [packet.Inform + 1]uint64
	Refused  uint64        // machines that get no answer by rule
	Reasons  leasing.Tally // of them, as in ByReason
	Full     uint64        // requests that found the pool full
	NoSubnet uint64        // requests from networks that are not served
	// Limited are requests that came too fast: from a client, on a link, through a relay, from a port behind a relay.
	Limited   [accounts]uint64
	Conflicts uint64 // pool addresses that a machine without a lease answered for
	Unprobed  uint64 // offers that went without a probe because there were too many
}

// New gives an engine that knows the stored leases and serves nothing yet.
func New(leases []state.Lease) *Engine {
	e := &Engine{
		policy: &Policy{}, table: newTable(), foreign: map[netip.Prefix]Foreign{}, sites: map[netip.Prefix]*site{}, rivals: map[netip.Prefix]Foreign{},
		probed: map[netip.Prefix]int64{}, unstored: map[netip.Addr]struct{}{}, limits: newLimits(),
	}
	for i := range leases {
		if leases[i].Address.Is4() { // the others are DHCPv6's
			e.table.load(&leases[i])
		}
	}
	return e
}

// Adopt makes p what is served. Leases that live stay.
func (e *Engine) Adopt(p *Policy, now int64) {
	e.policy = p
	for a := range p.owners {
		// An offer that nobody took yet gives way; a lease does not.
		if b := e.table.at(a); b != nil && b.state == held {
			b.expires = min(b.expires, now)
		}
	}
	e.table.adopt(p)
	for prefix := range e.foreign {
		if n := p.exact(prefix); n == nil || n.proxied() {
			delete(e.foreign, prefix)
		}
	}
	for prefix := range e.rivals {
		if p.exact(prefix) == nil {
			delete(e.rivals, prefix)
		}
	}
	e.adoptSites(now)
	clear(e.probed)
}

// Policy is what is served.
func (e *Engine) Policy() *Policy { return e.policy }

// Counts are totals since the start.
func (e *Engine) Counts() Counts { return e.count }

// Handle decides req, which came in on a link with these subnets of the
// policy, at Unix time now, and puts what is to be sent, stored and told into a.
func (e *Engine) Handle(req *packet.Request, link []*Subnet, now int64, a *Answer) {
	a.reset()
	kind := req.Type
	if kind > packet.Inform {
		kind = 0
	}
	e.count.Received[kind]++
	if req.MAC.IsZero() || req.MAC[0]&1 != 0 {
		return // nobody's address: an answer to it would be a broadcast
	}
	n := e.policy.pick(req, link)
	if n == nil {
		e.count.NoSubnet++
		return
	}
	e.current = request{Request: req, subnet: n, link: link, now: now, client: clientOf(req), answer: a}
	q := &e.current
	q.id = req.ID[:min(len(req.ID), 255)]
	q.reservation = e.policy.reservation(req, n)
	if !e.admit(q) {
		return
	}
	if n.proxied() {
		e.proxy(q)
		return
	}
	switch kind {
	case 0:
		if req.BOOTP {
			e.bootp(q)
		}
	case packet.Discover:
		e.discover(q)
	case packet.Ask:
		e.ask(q)
	case packet.Decline:
		e.decline(q)
	case packet.Release:
		e.release(q)
	case packet.Inform:
		e.inform(q)
	}
}

// request is one request with what was found out about it.
type request struct {
	*packet.Request
	subnet      *Subnet
	link        []*Subnet
	id          []byte       // client id as far as a lease record holds it
	reservation *reservation // nil: the machine is in no list
	client      client
	now         int64
	answer      *Answer
	charge      charge
}

func (e *Engine) discover(q *request) {
	if q.reservation != nil {
		e.discovered(q)
		switch {
		case e.occupied(q):
		case e.rapid(q):
			e.ack(q, q.reservation.Address, seconds(q.subnet.ReservationLease))
		default:
			e.offer(q, q.reservation.Address)
		}
		return
	}
	if e.refused(q) {
		return
	}
	e.discovered(q)
	t := e.table
	b := t.find(q.subnet, q.MAC, q.id)
	switch {
	case e.unwritten(q, b):
		return
	case b != nil && b.pool != nil && b.state == bound && b.live(q.now):
		t.set(b, bound, max(b.expires, q.now+holdFor))
	case b != nil && b.pool != nil:
		t.set(b, held, q.now+holdFor)
	default:
		if b = t.hold(q.subnet, q.MAC, q.id, q.Requested, q.now); b == nil {
			e.full(q)
			return
		}
	}
	if e.waits(q, b) {
		return
	}
	if e.rapid(q) {
		e.bind(q, b)
		return
	}
	e.offer(q, b.addr())
}

// discovered tells what kind of client asks; the text is built only when it is told.
func (e *Engine) discovered(q *request) {
	if e.notes.allow(noteKey{q.MAC, timeline.DHCPDiscover, q.client.kind()}, q.reservation != nil, q.now) {
		e.add(q, timeline.DHCPDiscover, netip.Addr{}, q.client.String()+q.unlisted())
	}
}

func (e *Engine) offer(q *request, addr netip.Addr) {
	file := e.write(q, packet.Offer, addr, 0)
	e.tell(q, timeline.DHCPOffer, addr, file)
	e.unbootable(q, addr, file)
}

// unbootable tells of a node that wants a boot file and gets none.
func (e *Engine) unbootable(q *request, addr netip.Addr, file string) {
	if r := q.reservation; file == "" && q.client.boots && r != nil && r.Node != "" {
		e.tell(q, timeline.BootRefused, addr, q.client.lacks(r.Boot))
	}
}

// decline puts an address that a client found in use into quarantine.
func (e *Engine) decline(q *request) {
	if !e.addressed(q) {
		return
	}
	if r := q.reservation; r != nil {
		if q.Requested == r.Address {
			// A forged decline must not take a machine's address away for good.
			e.tell(q, timeline.DHCPDecline, r.Address, "the reserved address is in use by another machine; find it with `arping "+r.Address.String()+"`. The reservation stays")
		}
		return
	}
	b := e.table.find(q.subnet, q.MAC, q.id)
	if b == nil || b.addr() != q.Requested || b.state != bound { // an offer cannot be declined (RFC 2131 section 4.4.1)
		return
	}
	e.table.unindex(b)
	e.table.set(b, declined, q.now+quarantine)
	e.record(q, b)
	e.end(b)
	e.tell(q, timeline.DHCPDecline, b.addr(), "the pool address is in use by a machine that did not get it here; nobody is given it for an hour")
}

// release frees an address; its last client gets it again while nobody else needed it.
func (e *Engine) release(q *request) {
	b := e.table.find(q.subnet, q.MAC, q.id)
	if !e.addressed(q) || q.reservation != nil || b == nil || b.addr() != q.Client || b.state != bound || !b.live(q.now) {
		return
	}
	e.table.set(b, bound, q.now)
	e.record(q, b)
	e.end(b)
}

// inform tells a client that has an address the other parameters.
func (e *Engine) inform(q *request) {
	// An answer to an address elsewhere would go to whoever is named in a forged packet.
	if !q.subnet.Prefix.Contains(q.Client) || q.reservation == nil && e.refused(q) {
		return
	}
	e.write(q, packet.Ack, netip.Addr{}, 0)
}

// record notes that b is to be written to disk as it is now.
func (e *Engine) record(q *request, b *binding) {
	q.answer.Record, q.answer.Durable = b.record(), true
}

// end closes the tenancy of b's client, with the record that says so.
func (e *Engine) end(b *binding) { b.promised, b.stored, b.ended = 0, 0, b.version }

// Leases are the pool addresses in use and in quarantine.
func (e *Engine) Leases(now int64) []state.Lease {
	out := []state.Lease{}
	for _, b := range e.table.byAddr {
		if b.state == held || !b.live(now) {
			continue
		}
		out = append(out, b.lease())
	}
	slices.SortFunc(out, func(a, b state.Lease) int { return a.Address.Compare(b.Address) })
	return out
}

func (p *Policy) exact(prefix netip.Prefix) *Subnet {
	for _, n := range p.subnets {
		if n.Prefix == prefix {
			return n
		}
	}
	return nil
}
