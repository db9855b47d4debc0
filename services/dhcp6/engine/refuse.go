package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"helperd/plan"
	"helperd/timeline"
)

// Why a machine gets no answer. The texts are keys of the event limit.
const (
	refusedUnknown   = "unknown over IPv6"
	refusedElsewhere = "elsewhere over IPv6"
	refusedBoot      = "boot over IPv6"
)

// refused reports whether a machine without a reservation in the network gets no answer, and tells why.
func (e *Engine) refused(q *request) bool {
	reason := ""
	switch {
	case !q.subnet.pooled():
		reason = refusedUnknown
		if len(e.policy.byMAC[q.mac]) > 0 {
			reason = refusedElsewhere
		}
	case q.client.boots:
		reason = refusedBoot
	default:
		return false
	}
	e.count.Refused++
	e.count.Reasons.Add(reasons, reason)
	if e.limits.tell(noteKey{q.mac, timeline.DHCPRefused, reason}, false, q.now) {
		e.add(q, timeline.DHCPRefused, netip.Addr{}, e.explain(q, reason))
	}
	return true
}

func (e *Engine) explain(q *request, reason string) string {
	who := "MAC " + q.mac.String()
	if q.mac.IsZero() {
		who = fmt.Sprintf("the machine with DUID %x, whose MAC nothing tells,", q.duid)
	}
	switch reason {
	case refusedElsewhere:
		r := e.policy.byMAC[q.mac][0]
		return fmt.Sprintf("%s asks on network %s, but its address %s (%s) is in %s; connect it to that network or change its ip6 in helper.yaml",
			who, q.subnet.Prefix, r.Address, r.Hostname, r.subnet.Prefix)
	case refusedBoot:
		return fmt.Sprintf("%s wants to boot from the network (%s) and no node of network %s in helper.yaml has it; write its mac and ip6 at a node if it is to be installed",
			who, q.client.String(), q.subnet.Prefix)
	}
	return fmt.Sprintf("%s has no ip6 in network %s of helper.yaml; write its mac and ip6 at a node or host, or give the network a pool", who, q.subnet.Prefix)
}

// choseOther tells that a client took another server's offer. Its word is easily
// forged, and nothing but an event comes of it.
func (e *Engine) choseOther(m *message, req *Request, now int64, a *Answer) {
	other := m.options.ServerID()
	if m.kind != dhcpv6.MessageTypeRequest || other == nil || len(req.Link) == 0 || string(other.ToBytes()) == string(e.id.ToBytes()) {
		return
	}
	text := fmt.Sprintf("a machine on network %s chose the offer of another DHCPv6 server (DUID %x); stop that server", req.Link[0].Prefix, other.ToBytes())
	if e.limits.tell(noteKey{plan.MAC{}, timeline.DHCPForeign, text}, false, now) {
		a.Events = append(a.Events, timeline.Event{Kind: timeline.DHCPForeign, Detail: text})
	}
}

// full tells that a pool has no address left.
func (e *Engine) full(q *request) outcome {
	e.count.Full++
	e.tell(q, timeline.DHCPFailed, netip.Addr{}, "pool "+q.subnet.Pool.String()+" is full; make it larger or its lease time shorter (networks[].dhcp)")
	return nothing(iana.StatusNoAddrsAvail, "the pool is full")
}

// occupied reports whether the machine's reserved address is still leased to
// another machine from when it was in a pool. Two machines on one address
// would disturb both; the other one's next renewal is refused.
func (e *Engine) occupied(q *request) bool {
	b := e.table.byAddr[q.reservation.Address]
	own := func(r *reservation) bool { return r.MAC == b.mac }
	if b == nil || b.state != bound || !b.live(q.now) || slices.ContainsFunc(e.policy.owners[b.addr], own) {
		return false
	}
	e.tell(q, timeline.DHCPFailed, b.addr, fmt.Sprintf("the reserved address is still leased to MAC %s from when it was in the pool, until %s at the latest; release it there, or choose another ip6",
		b.mac, time.Unix(b.expires, 0).UTC().Format(time.RFC3339)))
	return true
}

// tell notes an event of the machine that asks.
func (e *Engine) tell(q *request, kind timeline.Kind, addr netip.Addr, detail string) {
	if e.limits.tell(noteKey{q.mac, kind, detail}, q.reservation != nil, q.now) {
		e.add(q, kind, addr, detail)
	}
}

func (e *Engine) add(q *request, kind timeline.Kind, addr netip.Addr, detail string) {
	ev := timeline.Event{Kind: kind, MAC: q.mac, Addr: addr, Detail: detail}
	if q.reservation != nil {
		ev.Node = q.reservation.Node
	}
	q.answer.Events = append(q.answer.Events, ev)
}

// Check asks the engine for the parameters of the first machine that has a
// reservation, as that machine would, and changes nothing.
func (e *Engine) Check(now int64) error {
	count, limits := e.count, e.limits
	defer func() { e.count, e.limits = count, limits }()
	e.limits = newLimits()
	for _, list := range e.policy.byMAC {
		r := list[0]
		a := e.Handle(&Request{Data: ownRequest(r.MAC), Multicast: true, Link: []*Subnet{r.subnet}}, now)
		if len(a.Message) == 0 || a.Client != r.MAC {
			return fmt.Errorf("no answer for %s (%s)", r.MAC, r.Address)
		}
		return nil
	}
	return nil // nobody to ask for
}

// ownRequest is an Information-request of the machine with MAC m.
func ownRequest(m plan.MAC) []byte {
	b := []byte{11, 0, 0, 1, 0, 1, 0, 10, 0, 3, 0, byte(iana.HWTypeEthernet)} // xid 1, client id, DUID-LL
	return append(b, m[:]...)
}
