package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"helperd/plan"
	"helperd/timeline"
)

const (
	// clearFor is how long an address counts as free after a probe that nobody answered, in seconds.
	clearFor = 300
	// clearMargin is how long before that an address of the stock is probed again, in seconds.
	clearMargin = 60
	// clearUnsent is the same for an address whose probe could not be sent.
	clearUnsent = 2
	// stockSize is the number of addresses of a pool that are probed ahead.
	stockSize = 256
	// mostWaits is the number of offers a second that wait for a probe. More than
	// that, and all while the stock is used up, go unprobed: it is a storm, the
	// client looks for itself (RFC 2131 section 4.4.1) and declines, and a late offer
	// to thousands costs more than a conflict of one.
	mostWaits = 32
	// mostConflicts is the number of conflicts that are remembered.
	mostConflicts = 256
	// mostOfOne is the number of addresses that one machine may have in the pools.
	// Past it, it is a router that answers for others (proxy ARP), and must not take the pool away.
	mostOfOne = 16
)

// conflicts keeps pool addresses that somebody uses without a lease from being
// offered. It asks for probes; whoever drives the engine sends them.
type conflicts struct {
	on            bool
	second, waits int64 // offers that wait since that second
	found         map[netip.Addr]conflict
	proxy         plan.MAC // answers for everybody
	proxyUntil    int64
}

// conflict is an address in quarantine because a machine answered for it.
type conflict struct {
	mac   plan.MAC
	until int64
}

// ProbeConflicts makes the engine ask for a probe of a pool address that it
// would offer on a link: Answer.Check has it, and Checked is told the outcome.
func (e *Engine) ProbeConflicts() { e.conflicts.on = true }

// clear reports whether nobody answered for b a short time ago.
func (b *binding) clear(now int64) bool {
	at := int64(b.checked)
	return at > 0 && at <= now && now-at < clearFor
}

// waits reports whether the offer of b must wait for a probe of its address.
// Only an address of the link can be probed, not one behind a relay; and a client
// waits for no probe of the lease that it has.
func (e *Engine) waits(q *request, b *binding) bool {
	c := &e.conflicts
	if !c.on || b.state == bound || b.clear(q.now) || !slices.Contains(q.link, q.subnet) {
		return false
	}
	if !b.probing {
		if c.second != q.now {
			c.second, c.waits = q.now, 0
		}
		if c.waits >= mostWaits || b.pool != nil && b.pool.drained == q.now {
			e.count.Unprobed++
			return false
		}
		c.waits++
		b.probing = true
	}
	q.answer.Check = b.addr()
	return true
}

// fromStock takes an address that was probed ahead, or nil.
func (p *pool) fromStock(now int64) *binding {
	for len(p.stock) > 0 {
		b := p.stock[0]
		p.stock = p.stock[1:]
		stocked := b.stocked
		b.stocked = false
		if stocked && b.pool == p && !b.live(now) && b.clear(now) {
			return b
		}
	}
	if p.filled {
		p.drained = now
	}
	return nil
}

// Ahead appends to list the addresses of the pools on link that are to be
// probed now, so that later offers need not wait. It is called again when Checked
// was told of them all.
func (e *Engine) Ahead(link []*Subnet, now int64, list []netip.Addr) []netip.Addr {
	for _, n := range link {
		if p := e.table.pools[n.Prefix]; p != nil && n.pooled() && !n.proxied() && e.conflicts.on {
			list = e.restock(p, now, list)
		}
	}
	return list
}

// restock fills the stock of p in the order in which addresses are given: never
// used ones, then those that have been free longest.
func (e *Engine) restock(p *pool, now int64, list []netip.Addr) []netip.Addr {
	for len(p.stock) > 0 {
		b := p.stock[0]
		if b.stocked && !b.live(now) && b.clear(now+clearMargin) {
			break
		}
		b.stocked = false
		p.stock = p.stock[1:]
	}
	put := func(b *binding) {
		if b.clear(now + clearMargin) {
			p.keep(b)
			return
		}
		b.probing = true
		list = append(list, b.addr())
	}
	missing := min(stockSize, p.size) - len(p.stock)
	for ; missing > 0; missing-- {
		b := e.table.fresh(p)
		if b == nil {
			break
		}
		e.table.set(b, free, 0)
		put(b)
	}
	for _, q := range []queue{p.leases, p.holds} {
		idle := q.idle(now, missing)
		missing -= len(idle)
		for _, b := range idle {
			put(b)
		}
	}
	return list
}

func (p *pool) keep(b *binding) {
	p.filled = true
	b.stocked = true
	p.stock = append(p.stock, b)
}

// idle gives at most so many free bindings that are neither in the stock nor on
// their way there, in the order in which they became free. It walks the heap
// from the top and looks no further than it must.
func (q queue) idle(now int64, most int) (found []*binding) {
	var next []int
	reach := func(i int) {
		if i < len(q) && !q[i].live(now) {
			next = append(next, i)
		}
	}
	for reach(0); len(next) > 0 && len(found) < most; {
		at := 0
		for k := range next {
			if q.Less(next[k], next[at]) {
				at = k
			}
		}
		i := next[at]
		next[at] = next[len(next)-1]
		next = next[:len(next)-1]
		if !q[i].stocked && !q[i].probing {
			found = append(found, q[i])
		}
		reach(2*i + 1)
		reach(2*i + 2)
	}
	return found
}

// Probed is the outcome of a probe.
type Probed struct {
	Addr netip.Addr
	// Sent is false when the probe could not leave: nothing is known of the address.
	Sent bool
	// MAC is the machine that answered; zero: nobody did.
	MAC plan.MAC
}

// Checked notes the outcome of a probe. An address that another machine than
// its client answered for goes into quarantine, like a declined one. The
// requests that waited are to be given to Resume next.
func (e *Engine) Checked(r Probed, now int64, a *Answer) {
	a.reset()
	b := e.table.at(r.Addr)
	if b == nil || !b.probing {
		return
	}
	b.probing = false
	switch {
	case !r.Sent:
		b.checked = uint32(now - clearFor + clearUnsent)
	case r.MAC.IsZero() || b.live(now) && (r.MAC == b.mac || b.state != held) || e.conflicts.byProxy(r.MAC, now):
		b.checked = uint32(now)
		if b.pool != nil && !b.live(now) {
			b.pool.keep(b)
		}
	case b.state != declined || !b.live(now):
		e.conflict(b, r.MAC, now, a)
	}
}

func (e *Engine) conflict(b *binding, has plan.MAC, now int64, a *Answer) {
	e.table.unindex(b)
	b.mac, b.id, b.hostname = has, "", "" // the one that people look for
	e.table.set(b, declined, now+quarantine)
	a.Record, a.Durable = b.record(), true
	e.end(b)
	e.count.Conflicts++
	e.conflicts.note(b, now)
	a.Events = append(a.Events, timeline.Event{
		Kind: timeline.DHCPConflict, MAC: has, Addr: b.addr(),
		Detail: "the pool address is in use by a machine that has no lease of it; nobody is given it for an hour. Give that machine an address outside of the pool, or let it use DHCP",
	})
}

func (c *conflicts) note(b *binding, now int64) {
	if c.found == nil {
		c.found = map[netip.Addr]conflict{}
	}
	for addr, f := range c.found {
		if f.until <= now {
			delete(c.found, addr)
		}
	}
	if len(c.found) < mostConflicts {
		c.found[b.addr()] = conflict{b.mac, b.expires}
	}
}

// byProxy reports whether mac answers for more addresses than one machine has.
func (c *conflicts) byProxy(mac plan.MAC, now int64) bool {
	if c.proxy == mac && now < c.proxyUntil {
		return true
	}
	n := 0
	for _, f := range c.found {
		if f.mac == mac && now < f.until {
			n++
		}
	}
	if n < mostOfOne {
		return false
	}
	c.proxy, c.proxyUntil = mac, now+quarantine
	return true
}

// stepped keeps quarantines as long as they are when the clock is set. What
// probes said is forgotten: they are soon sent again.
func (c *conflicts) stepped(by int64) {
	for addr, f := range c.found {
		f.until += by
		c.found[addr] = f
	}
	c.proxyUntil += by
}

// problems says which addresses are in use by whom.
func (c *conflicts) problems(now int64) (out []string) {
	var list []netip.Addr
	for addr, f := range c.found {
		if now < f.until {
			list = append(list, addr)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	if len(list) > 0 {
		var who []string
		for _, addr := range list[:min(len(list), 3)] {
			who = append(who, fmt.Sprintf("%s (MAC %s)", addr, c.found[addr].mac))
		}
		if len(list) > len(who) {
			who = append(who, fmt.Sprintf("and %d more", len(list)-len(who)))
		}
		out = append(out, "pool addresses are in use by machines that have no lease: "+strings.Join(who, ", ")+"; nobody is given them for an hour. Give those machines other addresses, or make the pool smaller (networks[].dhcp.pool)")
	}
	if now < c.proxyUntil {
		out = append(out, fmt.Sprintf("MAC %s answers ARP for any address of the pool, so its answers do not count; switch its proxy ARP off", c.proxy))
	}
	return out
}
