package engine

import (
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"helperd/plan"
	"helperd/services/leasing"
	"helperd/state"
	"helperd/timeline"
)

// Engine has all leases and decides every message. It is not safe for
// concurrent use: one writer drives it.
type Engine struct {
	policy *Policy
	table  *table
	limits limits
	id     dhcpv6.DUID // the server's
	count  Counts

	unwritable bool
	unstored   map[netip.Addr]struct{} // what the disk has of them is out of date
}

// Counts are totals since the start.
type Counts struct {
	Received  [dhcpv6.MessageTypeRelayReply + 1]uint64 // by message type; 0: all others
	Sent      [dhcpv6.MessageTypeRelayReply + 1]uint64
	Malformed uint64
	Limited   uint64        // messages of senders that send too many
	Refused   uint64        // machines that get no answer by rule
	Reasons   leasing.Tally // of them, as in ByReason
	Full      uint64        // requests that found the pool full
	NoSubnet  uint64        // messages from networks that are not served
	Relayed   uint64        // messages that came through a relay
}

// New gives an engine that is the server id, knows the stored leases and serves nothing yet.
func New(id dhcpv6.DUID, leases []state.Lease) *Engine {
	e := &Engine{id: id, policy: &Policy{}, table: newTable(), limits: newLimits(), unstored: map[netip.Addr]struct{}{}}
	for i := range leases {
		if leases[i].Address.Is6() { // the others are DHCPv4's
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
		if b := e.table.byAddr[a]; b != nil && b.state == held {
			b.expires = min(b.expires, now)
		}
	}
	e.table.adopt(p, now)
}

// Policy is what is served.
func (e *Engine) Policy() *Policy { return e.policy }

// Counts are totals since the start.
func (e *Engine) Counts() Counts { return e.count }

// A Request is a datagram and what its socket knows of it.
type Request struct {
	Data      []byte
	From      netip.AddrPort
	Multicast bool      // it was sent to a multicast address
	Link      []*Subnet // of the policy, on the interface that it came in by
	// Neighbour is who has From by the kernel's table; zero: nobody is known. It is
	// asked for by Answer.WhoIs and counts when Asked.
	Neighbour plan.MAC
	Asked     bool
}

// An Answer is what comes of a request.
type Answer struct {
	Message []byte // empty: no answer
	Port    uint16 // of the sender that it goes to
	// Records must be on disk before the message is sent.
	Records []Record
	// Acked are the addresses that Client was given.
	Acked  []netip.Addr
	Client plan.MAC
	// Network is where the client is; zero: nowhere that is served.
	Network netip.Prefix
	// WhoIs says that the message does not tell who the client is: ask the
	// kernel's neighbour table and hand the request in again.
	WhoIs bool
	// Events are to be told once the answer is sent.
	Events []timeline.Event
}

// request is one request with what was found out about it.
type request struct {
	*message
	link        []*Subnet
	subnet      *Subnet
	relayed     bool
	duid        string
	mac         plan.MAC // zero: not known
	reservation *reservation
	given       bool // the reserved address is in an IA of the answer
	client      client
	requested   dhcpv6.OptionCodes
	url         string // what it is told to load
	now         int64
	answer      *Answer
}

// Handle decides req at Unix time now.
func (e *Engine) Handle(req *Request, now int64) (a Answer) {
	m, err := parse(req.Data)
	if err != nil {
		e.count.Malformed++
		return a
	}
	if !req.Asked {
		if !e.limits.hear(m, req.From.Addr(), now) {
			e.count.Limited++
			return a
		}
		e.received(m)
	}
	if !e.valid(m) {
		e.choseOther(m, req, now, &a)
		return a
	}
	q := &request{
		message: m, link: req.Link, relayed: len(m.layers) > 0, now: now, answer: &a,
		client: clientOf(m.options), requested: m.options.RequestedOptions(),
	}
	if id := m.options.ClientID(); id != nil {
		q.duid = string(id.ToBytes())
	}
	if q.relayed {
		if on := m.relayLink(); on.IsValid() {
			q.link = nil
			if n := e.policy.at(on); n != nil {
				q.link = []*Subnet{n}
			}
		}
	}
	if len(q.link) == 0 {
		e.count.NoSubnet++
		return a
	}
	if e.identify(q, req); a.WhoIs {
		return a
	}
	a.Port, a.Network = m.port(req.From.Port()), q.subnet.Prefix
	if !q.relayed && !req.Multicast {
		e.unicast(q)
		return a
	}
	e.decide(q)
	return a
}

func (e *Engine) received(m *message) {
	kind := m.kind
	if int(kind) >= len(e.count.Received) {
		kind = 0
	}
	e.count.Received[kind]++
	if len(m.layers) > 0 {
		e.count.Relayed++
	}
}

// valid reports whether m is one for this server (RFC 8415 section 16).
func (e *Engine) valid(m *message) bool {
	client, server := m.options.ClientID(), m.options.ServerID()
	switch m.kind {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRebind:
		return client != nil && server == nil
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		return client != nil && server != nil && string(server.ToBytes()) == string(e.id.ToBytes())
	case dhcpv6.MessageTypeInformationRequest:
		ias := m.options.GetOne(dhcpv6.OptionIANA) != nil || m.options.GetOne(dhcpv6.OptionIATA) != nil || m.options.GetOne(dhcpv6.OptionIAPD) != nil
		return !ias && (server == nil || string(server.ToBytes()) == string(e.id.ToBytes()))
	}
	return false
}

// identify finds out whose message it is and in which network it counts. More
// than one network may share a link: the one that knows the machine goes first,
// then one whose pool may have an address that it names, then one with a pool.
func (e *Engine) identify(q *request, req *Request) {
	macs := q.macs(req.From.Addr())
	if req.Asked && !req.Neighbour.IsZero() && !slices.Contains(macs, req.Neighbour) {
		macs = append(macs, req.Neighbour)
	}
	if len(macs) > 0 {
		q.mac = macs[0]
	}
	for _, mac := range macs {
		for _, n := range q.link {
			if r := e.policy.reservation(mac, n); r != nil {
				q.mac, q.reservation, q.subnet = mac, r, n
				return
			}
		}
	}
	if !req.Asked && !q.relayed && req.From.Addr().IsLinkLocalUnicast() && e.policy.knows(q.link) {
		q.answer.WhoIs = true
		return
	}
	for _, n := range q.link {
		if q.subnet == nil || n.pooled() && (!q.subnet.pooled() || slices.ContainsFunc(q.named(), n.Prefix.Contains)) {
			q.subnet = n
		}
	}
}

// knows reports whether a machine has a reservation in one of the networks.
func (p *Policy) knows(link []*Subnet) bool {
	for _, list := range p.owners {
		if slices.Contains(link, list[0].subnet) {
			return true
		}
	}
	return false
}

// named are the addresses that the client names in its IAs.
func (q *request) named() (out []netip.Addr) {
	for _, ia := range q.options.IANA() {
		out = append(out, addressesOf(ia.Options)...)
	}
	for _, ia := range q.options.IATA() {
		out = append(out, addressesOf(ia.Options)...)
	}
	return out
}

func addressesOf(o dhcpv6.IdentityOptions) (out []netip.Addr) {
	for _, a := range o.Addresses() {
		if addr, ok := netip.AddrFromSlice(a.IPv6Addr); ok {
			out = append(out, addr)
		}
	}
	return out
}

// unicast answers what must be sent to everybody (RFC 8415 section 18.4): this
// server allows nobody to send to it alone.
func (e *Engine) unicast(q *request) {
	switch q.kind {
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		e.send(q, e.reply(q, dhcpv6.MessageTypeReply, status(iana.StatusUseMulticast, "send it to ff02::1:2")))
	}
}

func (e *Engine) decide(q *request) {
	if q.reservation == nil && e.refused(q) {
		return
	}
	if r := q.reservation; r != nil {
		q.url = q.client.url(r.Boot)
	}
	switch q.kind {
	case dhcpv6.MessageTypeSolicit:
		e.solicit(q)
	case dhcpv6.MessageTypeRequest:
		e.request(q)
	case dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		e.renew(q)
	case dhcpv6.MessageTypeConfirm:
		e.confirm(q)
	case dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		e.giveUp(q)
	case dhcpv6.MessageTypeInformationRequest:
		m := e.reply(q, dhcpv6.MessageTypeReply)
		q.addParameters(m)
		e.send(q, m)
		if q.client.boots {
			e.tell(q, timeline.DHCPAck, netip.Addr{}, q.url)
		}
	}
}

// reply is a message to the client with what every one has in it, and options.
func (e *Engine) reply(q *request, kind dhcpv6.MessageType, options ...dhcpv6.Option) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: q.xid}
	if id := q.options.GetOne(dhcpv6.OptionClientID); id != nil {
		m.AddOption(id)
	}
	m.AddOption(dhcpv6.OptServerID(e.id))
	for _, o := range options {
		m.AddOption(o)
	}
	return m
}

func (e *Engine) send(q *request, m *dhcpv6.Message) {
	q.answer.Message = q.wrap(m.ToBytes())
	q.answer.Client = q.mac
	e.count.Sent[m.MessageType]++
}
