package engine

import (
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"helperd/timeline"
)

// mostIAs is how many IAs of one message get an address each; the others are told that there is none.
const mostIAs = 8

// outcome is what became of one IA.
type outcome struct {
	addr netip.Addr    // not valid: none
	time time.Duration // lease
	old  []netip.Addr  // that the client must not use any more
	code iana.StatusCode
	text string
	mute bool // nothing is known of it, or nothing can be stored: say nothing
}

func nothing(code iana.StatusCode, text string) outcome { return outcome{code: code, text: text} }

func (o *outcome) option(id [4]byte) *dhcpv6.OptIANA {
	ia := identity(id)
	if o.addr.IsValid() {
		ia.T1, ia.T2 = o.time*renewAt/10, o.time*rebindAt/10
		ia.Options.Add(leased(o.addr, o.time))
	}
	for _, a := range o.old {
		if a != o.addr {
			ia.Options.Add(leased(a, 0))
		}
	}
	if o.code != iana.StatusSuccess {
		ia.Options.Add(status(o.code, o.text))
	}
	return ia
}

// solicit answers what the client would get, or gives it at once if both sides
// want so (RFC 8415 section 18.3.1).
func (e *Engine) solicit(q *request) {
	if e.limits.tell(noteKey{q.mac, timeline.DHCPDiscover, q.client.String()}, q.reservation != nil, q.now) {
		e.add(q, timeline.DHCPDiscover, netip.Addr{}, q.client.String())
	}
	rapid := q.options.GetOne(dhcpv6.OptionRapidCommit)
	decide := e.offer
	if rapid != nil {
		decide = func(q *request, id string, named []netip.Addr) outcome {
			return e.bind(q, id, slices.DeleteFunc(named, func(a netip.Addr) bool { return !q.onLink(a) })) // they are hints
		}
	}
	ias, addrs := e.answerIAs(q, decide)
	switch {
	case len(ias) == 0:
		return
	case rapid != nil && len(addrs) > 0:
		e.acknowledge(q, append(ias, rapid), addrs)
		return
	case q.reservation != nil && len(addrs) > 0:
		ias = append(ias, dhcpv6.OptPreference(preferred))
	}
	m := e.reply(q, dhcpv6.MessageTypeAdvertise, ias...)
	q.addParameters(m)
	e.send(q, m)
	for _, a := range addrs {
		e.tell(q, timeline.DHCPOffer, a, q.url)
	}
	if r := q.reservation; q.client.boots && q.url == "" && r.Node != "" {
		e.tell(q, timeline.BootRefused, r.Address, q.client.lacks(r.Boot))
	}
}

// request gives what was advertised (RFC 8415 section 18.3.2).
func (e *Engine) request(q *request) {
	if ias, addrs := e.answerIAs(q, e.bind); len(ias) > 0 {
		e.acknowledge(q, ias, addrs)
	}
}

// renew gives a client more time for what it has: one that asks this server, and
// one that asks any (RFC 8415 sections 18.3.4 and 18.3.5).
func (e *Engine) renew(q *request) {
	if ias, addrs := e.answerIAs(q, e.extend); len(ias) > 0 {
		e.acknowledge(q, ias, addrs)
	}
}

func (e *Engine) acknowledge(q *request, options []dhcpv6.Option, addrs []netip.Addr) {
	m := e.reply(q, dhcpv6.MessageTypeReply, options...)
	q.addParameters(m)
	e.send(q, m)
	q.answer.Acked = addrs
	for _, a := range addrs {
		e.tell(q, timeline.DHCPAck, a, q.url)
	}
}

// answerIAs decides every IA of the message.
func (e *Engine) answerIAs(q *request, decide func(*request, string, []netip.Addr) outcome) (out []dhcpv6.Option, addrs []netip.Addr) {
	for i, ia := range q.byReservation() {
		o := nothing(iana.StatusNoAddrsAvail, "too many IAs")
		if i < mostIAs {
			o = decide(q, string(ia.IaId[:])+q.duid, addressesOf(ia.Options))
		}
		if o.mute {
			continue
		}
		out = append(out, o.option(ia.IaId))
		if o.addr.IsValid() {
			addrs = append(addrs, o.addr)
		}
	}
	if q.kind == dhcpv6.MessageTypeRebind {
		return out, addrs // what is not given here may be another server's
	}
	for _, ia := range q.options.IATA() {
		out = append(out, &dhcpv6.OptIATA{IaId: ia.IaId, Options: dhcpv6.IdentityOptions{Options: dhcpv6.Options{
			status(iana.StatusNoAddrsAvail, "there are no temporary addresses here"),
		}}})
	}
	for _, ia := range q.options.IAPD() {
		out = append(out, &dhcpv6.OptIAPD{IaId: ia.IaId, Options: dhcpv6.PDOptions{Options: dhcpv6.Options{
			status(iana.StatusNoPrefixAvail, "there are no prefixes here"),
		}}})
	}
	return out, addrs
}

// byReservation are the client's IAs, the one that names its reserved address first: it is the one that gets it.
func (q *request) byReservation() []*dhcpv6.OptIANA {
	ias := q.options.IANA()
	if q.reservation == nil {
		return ias
	}
	names := func(ia *dhcpv6.OptIANA) bool {
		return slices.Contains(addressesOf(ia.Options), q.reservation.Address)
	}
	if i := slices.IndexFunc(ias, names); i > 0 {
		ias[0], ias[i] = ias[i], ias[0]
	}
	return ias
}

// reserved gives the machine's address to the first IA that is asked about.
func (e *Engine) reserved(q *request, named []netip.Addr, otherwise iana.StatusCode) outcome {
	if q.given {
		return nothing(otherwise, "this machine has one address here")
	}
	if e.occupied(q) {
		return nothing(iana.StatusNoAddrsAvail, "another machine still has the address")
	}
	q.given = true
	return outcome{addr: q.reservation.Address, time: lease(q.subnet.ReservationLease), old: named}
}

// offer holds an address for an IA.
func (e *Engine) offer(q *request, id string, named []netip.Addr) outcome {
	if q.reservation != nil {
		return e.reserved(q, nil, iana.StatusNoAddrsAvail)
	}
	b := e.table.find(q.subnet, id)
	switch {
	case e.unwritten(q, b):
		return outcome{mute: true}
	case b != nil && b.pool != nil && b.state == bound && b.live(q.now):
		e.table.set(b, bound, max(b.expires, q.now+holdFor))
	case b != nil && b.pool != nil:
		e.table.set(b, held, q.now+holdFor)
	default:
		if b = e.table.hold(q.subnet, id, first(named), q.now); b == nil {
			return e.full(q)
		}
	}
	return outcome{addr: b.addr, time: lease(q.subnet.PoolLease)}
}

func first(list []netip.Addr) netip.Addr {
	if len(list) == 0 {
		return netip.Addr{}
	}
	return list[0]
}

// bind gives an IA its address for good.
func (e *Engine) bind(q *request, id string, named []netip.Addr) outcome {
	if slices.ContainsFunc(named, func(a netip.Addr) bool { return !q.onLink(a) }) {
		return nothing(iana.StatusNotOnLink, "the address is not of this network")
	}
	if q.reservation != nil {
		return e.reserved(q, nil, iana.StatusNoAddrsAvail)
	}
	b := e.table.find(q.subnet, id)
	if b == nil || b.pool == nil || b.state != bound && !b.live(q.now) {
		// It was ours when it was offered: before a restart, or in a flood.
		if b = e.table.hold(q.subnet, id, first(named), q.now); b == nil {
			return e.full(q)
		}
	}
	return e.lease(q, b, nil)
}

// extend gives an IA more time for its address.
func (e *Engine) extend(q *request, id string, named []netip.Addr) outcome {
	if q.reservation != nil {
		return e.reserved(q, named, iana.StatusNoBinding)
	}
	b := e.table.find(q.subnet, id)
	if b == nil || b.pool == nil || b.state != bound {
		b = e.table.take(q.subnet, id, first(named), q.now)
	}
	foreign := slices.DeleteFunc(slices.Clone(named), q.onLink)
	switch {
	case b != nil:
		return e.lease(q, b, named)
	case len(foreign) > 0:
		return outcome{old: foreign}
	case q.kind == dhcpv6.MessageTypeRebind && !slices.ContainsFunc(named, e.moved(q)):
		return outcome{mute: true} // it may be another server's
	case q.kind == dhcpv6.MessageTypeRebind:
		return outcome{old: named}
	}
	return nothing(iana.StatusNoBinding, "nothing is known of this IA")
}

// moved tells addresses that are certainly not the client's any more.
func (e *Engine) moved(q *request) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		b := e.table.byAddr[a]
		return len(e.policy.owners[a]) > 0 || b != nil && b.state == bound && b.live(q.now)
	}
}

// lease gives b for the full time, which must be on disk before the answer goes. A
// lease on disk that is good for three quarters of the time is promised for what is
// left instead: firmware, loader and system ask within one minute.
func (e *Engine) lease(q *request, b *binding, named []netip.Addr) outcome {
	full := lease(q.subnet.PoolLease)
	seconds := int64(full / time.Second)
	left := min(b.left(q.now), seconds)
	switch {
	case e.unwritten(q, b):
		return outcome{mute: true}
	case e.unwritable, b.mac == q.mac && left >= seconds-seconds/4:
		return outcome{addr: b.addr, time: time.Duration(left) * time.Second, old: named}
	}
	b.mac = q.mac
	if name := q.hostname(); name != "" {
		b.hostname = name
	}
	// One second more than is promised: times are cut to seconds.
	e.table.set(b, bound, q.now+seconds+1)
	q.answer.Records = append(q.answer.Records, b.record())
	return outcome{addr: b.addr, time: full, old: named}
}

// hostname is the client's name if it is one that can be shown to people; else nothing.
func (q *request) hostname() string {
	o, ok := q.options.GetOne(dhcpv6.OptionFQDN).(*dhcpv6.OptFQDN)
	if !ok || len(o.DomainName.Labels) != 1 || len(o.DomainName.Labels[0]) > 255 {
		return ""
	}
	name := o.DomainName.Labels[0]
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return ""
		}
	}
	return name
}

// onLink reports whether a is of the client's link.
func (q *request) onLink(a netip.Addr) bool {
	return slices.ContainsFunc(q.link, func(n *Subnet) bool { return n.Prefix.Contains(a) })
}

// confirm tells a client that may have moved whether its addresses are of this link
// (RFC 8415 section 18.3.3). It does not say that they are its own.
func (e *Engine) confirm(q *request) {
	named := q.named()
	switch {
	case len(named) == 0:
	case slices.ContainsFunc(named, func(a netip.Addr) bool { return !q.onLink(a) }):
		e.send(q, e.reply(q, dhcpv6.MessageTypeReply, status(iana.StatusNotOnLink, "not all addresses are of this network")))
	default:
		e.send(q, e.reply(q, dhcpv6.MessageTypeReply, status(iana.StatusSuccess, "all addresses are of this network")))
	}
}

// giveUp takes back what the client does not want any more, or found in use
// (RFC 8415 sections 18.3.7 and 18.3.8).
func (e *Engine) giveUp(q *request) {
	options := []dhcpv6.Option{status(iana.StatusSuccess, "done")}
	for i, ia := range q.options.IANA() {
		if i >= mostIAs {
			break
		}
		if !e.giveUpIA(q, string(ia.IaId[:])+q.duid, addressesOf(ia.Options)) {
			options = append(options, identity(ia.IaId, status(iana.StatusNoBinding, "nothing is known of this IA")))
		}
	}
	e.send(q, e.reply(q, dhcpv6.MessageTypeReply, options...))
}

func (e *Engine) giveUpIA(q *request, id string, named []netip.Addr) bool {
	decline := q.kind == dhcpv6.MessageTypeDecline
	if r := q.reservation; r != nil {
		has := slices.Contains(named, r.Address)
		if has && decline {
			// A forged decline must not take a machine's address away for good.
			e.tell(q, timeline.DHCPDecline, r.Address, "the reserved address is in use by another machine; find it with `ip -6 neigh show "+r.Address.String()+"`. The reservation stays")
		}
		return has
	}
	b := e.table.find(q.subnet, id)
	if b == nil || b.state != bound || !b.live(q.now) {
		return false
	}
	if !slices.Contains(named, b.addr) {
		return true // there is such an IA, and the address is none of it: it is left out (RFC 8415 section 18.3.7)
	}
	if decline {
		e.table.unindex(b)
		e.table.set(b, declined, q.now+quarantine)
		e.tell(q, timeline.DHCPDecline, b.addr, "the pool address is in use by a machine that did not get it here; nobody is given it for an hour")
	} else {
		e.table.set(b, bound, q.now)
	}
	q.answer.Records = append(q.answer.Records, b.record())
	b.end()
	return true
}
