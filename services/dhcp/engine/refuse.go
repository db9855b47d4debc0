package engine

import (
	"fmt"
	"net/netip"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

const (
	// foreignFor is how long one word of another DHCP server counts, in seconds.
	foreignFor = 600
	// hearsayEvery is the least time between two probes that clients cause, in seconds.
	hearsayEvery = 10
)

// Foreign is another DHCP server on a network of ours.
type Foreign struct {
	Network netip.Prefix
	Server  netip.Addr
	MAC     plan.MAC // zero: named by a client behind a relay, not heard itself
	heard   int64    // Unix seconds
	told    bool     // there was an event of it
}

// Why a machine gets no answer. The texts are keys of the event limit.
const (
	refusedUnknown   = "unknown"
	refusedElsewhere = "elsewhere"
	refusedBoot      = "boot"
	refusedForeign   = "foreign"
	refusedBOOTP     = "bootp"
)

// refused reports whether a machine without a reservation in the network gets no answer, and tells why.
func (e *Engine) refused(q *request) bool {
	reason := ""
	f, foreign := e.rival(q.subnet, q.now)
	switch {
	case !q.subnet.pooled():
		reason = refusedUnknown
		if e.policy.elsewhere(q.Request) != nil {
			reason = refusedElsewhere
		}
	case q.BOOTP:
		reason = refusedBOOTP
	case q.client.boots:
		reason = refusedBoot
	case foreign:
		reason = refusedForeign
	default:
		return false
	}
	e.count.Refused++
	e.count.Reasons.Add(reasons, reason)
	if e.notes.allow(noteKey{q.MAC, timeline.DHCPRefused, reason}, false, q.now) {
		e.add(q, timeline.DHCPRefused, netip.Addr{}, e.explain(q, reason, &f))
	}
	return true
}

func (e *Engine) explain(q *request, reason string, f *Foreign) string {
	switch reason {
	case refusedElsewhere:
		r := e.policy.elsewhere(q.Request)
		return fmt.Sprintf("MAC %s asks on network %s, but its address %s (%s) is in %s; connect it to that network or change its ip in helper.yaml",
			q.MAC, q.subnet.Prefix, r.Address, r.Hostname, r.subnet.Prefix)
	case refusedBOOTP:
		return fmt.Sprintf("MAC %s asks by BOOTP, which keeps an address for ever, so the pool of network %s has none for it; add it to helper.yaml",
			q.MAC, q.subnet.Prefix)
	case refusedBoot:
		return fmt.Sprintf("MAC %s wants to boot from the network (%s) and is in no node of network %s in helper.yaml; add it to a node if it is to be installed",
			q.MAC, q.client.String(), q.subnet.Prefix)
	case refusedForeign:
		return fmt.Sprintf("another DHCP server, %s, answers on network %s, so only machines in helper.yaml are served; stop that server, or add MAC %s to helper.yaml",
			f.Server, q.subnet.Prefix, q.MAC)
	}
	return fmt.Sprintf("MAC %s is in no node of helper.yaml; add it or give the network a pool", q.MAC)
}

// full tells that a pool has no address left.
func (e *Engine) full(q *request) {
	e.count.Full++
	e.tell(q, timeline.DHCPFailed, netip.Addr{}, "pool "+q.subnet.Pool.String()+" is full; make it larger or its lease time shorter (networks[].dhcp)")
}

// occupied reports whether the machine's reserved address is still leased to
// another machine from when it was in a pool. Two machines on one address
// would disturb both; the other one's next renewal is refused.
func (e *Engine) occupied(q *request) bool {
	b := e.table.at(q.reservation.Address)
	if b == nil || b.state != bound || !b.live(q.now) || b.mac == q.MAC || e.policy.owns(b) {
		return false
	}
	e.tell(q, timeline.DHCPFailed, b.addr(), fmt.Sprintf("the reserved address is still leased to MAC %s from when it was in the pool, until %s at the latest; release it there, or choose another ip",
		b.mac, time.Unix(b.expires, 0).UTC().Format(time.RFC3339)))
	return true
}

// Heard notes that a server on the link of these subnets answered somebody as
// server from the interface mac. It is no news when it is this machine.
func (e *Engine) Heard(link []*Subnet, server netip.Addr, mac plan.MAC, now int64, a *Answer) {
	a.reset()
	if !server.IsValid() || e.policy.ours[server] {
		return
	}
	for _, n := range link {
		if f := (Foreign{Server: server, MAC: mac}); n.proxied() {
			e.site(n, f, now, a)
		} else {
			e.heard(n, f, now, a)
		}
	}
}

func (e *Engine) heard(n *Subnet, f Foreign, now int64, a *Answer) {
	f.Network, f.heard = n.Prefix, now
	old, known := e.foreign[n.Prefix]
	known = known && old.Server == f.Server && now-old.heard < foreignFor
	if known && f.MAC.IsZero() {
		f.MAC = old.MAC
	}
	f.told = known && old.told && old.MAC == f.MAC
	text := "another DHCP server answers on network " + n.Prefix.String() + "; for ten minutes only machines in helper.yaml are served there. Stop that server"
	if !f.told && e.notes.allow(noteKey{f.MAC, timeline.DHCPForeign, text}, false, now) {
		f.told = true
		a.Events = append(a.Events, timeline.Event{Kind: timeline.DHCPForeign, Addr: f.Server, MAC: f.MAC, Detail: text})
	}
	e.foreign[n.Prefix] = f
}

// rival is the other server that was heard on n within the last ten minutes, if any.
func (e *Engine) rival(n *Subnet, now int64) (Foreign, bool) {
	f, ok := e.foreign[n.Prefix]
	return f, ok && now-f.heard < foreignFor
}

// Foreign are the other DHCP servers that were heard within the last ten minutes.
func (e *Engine) Foreign(now int64) []Foreign { return e.lately(e.foreign, now) }

// lately gives those of the served networks that were heard within the last ten minutes.
func (e *Engine) lately(servers map[netip.Prefix]Foreign, now int64) []Foreign {
	var out []Foreign
	for _, n := range e.policy.subnets {
		if f, ok := servers[n.Prefix]; ok && now-f.heard < foreignFor {
			out = append(out, f)
		}
	}
	return out
}
