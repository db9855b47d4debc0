package engine

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"net/netip"
	"time"

	"helperd/plan"
	"helperd/state"
)

const (
	// holdFor is how long an offered address waits for its client, in seconds.
	holdFor = 60
	// quarantine is how long nobody gets an address that a client found in use, in seconds.
	quarantine = 3600
	// leastHolds is the number of offers a pool holds at once even when it is
	// small; a larger one holds 7/8 of its addresses. Past that the oldest
	// offer gives way, so that a flood of invented MACs cannot use the pool up.
	leastHolds = 64
)

// binding is one pool address that somebody has, had, or was offered. It is
// free once it has expired, and still remembers its last client then.
type binding struct {
	addr     netip.Addr
	net      netip.Prefix
	mac      plan.MAC
	id       string // client id; empty: the client sends none
	hostname string
	state    bindingState
	expires  int64  // Unix seconds
	stored   int64  // expiry of the lease that is on disk for this client; 0: none
	version  uint64 // of the last record made of it
	turn     uint64 // when state or expiry were set last, finer than the clock

	pool  *pool // nil: the address is in no pool (any more)
	index int   // in the heap of the pool
}

type bindingState uint8

const (
	held bindingState = iota
	bound
	declined
)

func (b *binding) live(now int64) bool { return b.expires > now }

// queue is a heap of bindings, the first to expire on top.
type queue []*binding

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].expires, q[j].expires), cmp.Compare(q[i].turn, q[j].turn)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i]; q[i].index, q[j].index = i, j }
func (q *queue) Push(x any)   { b := x.(*binding); b.index = len(*q); *q = append(*q, b) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	b := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return b
}

// pool is the pool of one subnet.
type pool struct {
	subnet *Subnet
	next   netip.Addr // where to look for a never used address; not valid: there is none
	limit  int        // of holds
	holds  queue      // offered
	leases queue      // all others
}

func newPool(n *Subnet) *pool {
	first, last := n.Pool.First.As4(), n.Pool.Last.As4()
	size := int(binary.BigEndian.Uint32(last[:])-binary.BigEndian.Uint32(first[:])) + 1
	return &pool{subnet: n, next: n.Pool.First, limit: max(leastHolds, size-size/8)}
}

func (p *pool) queueOf(s bindingState) *queue {
	if s == held {
		return &p.holds
	}
	return &p.leases
}

// table has all bindings of all pools.
type table struct {
	byAddr map[netip.Addr]*binding
	byID   map[idKey]*binding
	byMAC  map[macKey]*binding // the latest one of a MAC
	pools  map[netip.Prefix]*pool
	barred map[netip.Addr]bool
	turn   uint64
}

type idKey struct {
	net netip.Prefix
	id  string
}

type macKey struct {
	net netip.Prefix
	mac plan.MAC
}

func newTable() *table {
	return &table{byAddr: map[netip.Addr]*binding{}, byID: map[idKey]*binding{}, byMAC: map[macKey]*binding{}, pools: map[netip.Prefix]*pool{}}
}

// adopt fits the bindings into the pools of p. Those that are in no pool any
// more stay until they expire, and nobody is given their address meanwhile.
func (t *table) adopt(p *Policy) {
	clear(t.pools)
	clear(t.byID)
	clear(t.byMAC)
	t.barred = p.barred
	for _, n := range p.subnets {
		if n.Pool.IsValid() {
			t.pools[n.Prefix] = newPool(n)
		}
	}
	for _, b := range t.byAddr {
		b.pool, b.net = nil, netip.Prefix{}
		n := p.at(b.addr)
		if n == nil {
			continue
		}
		b.net = n.Prefix
		t.index(b)
		if n.Pool.Contains(b.addr) && !t.barred[b.addr] {
			b.pool = t.pools[n.Prefix]
			heap.Push(b.pool.queueOf(b.state), b)
		}
	}
}

// index makes b found by its client, unless something newer is.
func (t *table) index(b *binding) {
	if b.state == declined {
		return
	}
	if old := t.byID[idKey{b.net, b.id}]; b.id != "" && (old == nil || old.expires <= b.expires) {
		t.byID[idKey{b.net, b.id}] = b
	}
	if old := t.byMAC[macKey{b.net, b.mac}]; old == nil || old.expires <= b.expires {
		t.byMAC[macKey{b.net, b.mac}] = b
	}
}

// assign makes b the one that is found by mac and id.
func (t *table) assign(b *binding, mac plan.MAC, id string) {
	t.unindex(b)
	b.mac, b.id = mac, id
	t.byMAC[macKey{b.net, mac}] = b
	if id != "" {
		t.byID[idKey{b.net, id}] = b
	}
}

// unindex makes b forget its client.
func (t *table) unindex(b *binding) {
	if k := (idKey{b.net, b.id}); t.byID[k] == b {
		delete(t.byID, k)
	}
	if k := (macKey{b.net, b.mac}); t.byMAC[k] == b {
		delete(t.byMAC, k)
	}
}

// find gives the binding of a client in n, or nil: by client id first, then by
// MAC when one side has no client id, as with firmware that sends none and a
// system that does.
func (t *table) find(n *Subnet, mac plan.MAC, id []byte) *binding {
	if len(id) > 0 {
		if b := t.byID[idKey{n.Prefix, string(id)}]; b != nil {
			return b
		}
	}
	if b := t.byMAC[macKey{n.Prefix, mac}]; b != nil && (b.id == "" || len(id) == 0) {
		return b
	}
	return nil
}

// set changes state and expiry of b.
func (t *table) set(b *binding, s bindingState, expires int64) {
	t.turn++
	b.turn = t.turn
	if b.pool != nil && b.pool.queueOf(b.state) == b.pool.queueOf(s) {
		b.state, b.expires = s, expires
		heap.Fix(b.pool.queueOf(s), b.index)
		return
	}
	if b.pool != nil {
		heap.Remove(b.pool.queueOf(b.state), b.index)
	}
	b.state, b.expires = s, expires
	if b.pool != nil {
		heap.Push(b.pool.queueOf(s), b)
	}
}

// own makes mac and id the client of b. A client id that is known stays when
// the client sends none this time.
func (t *table) own(b *binding, mac plan.MAC, id []byte) {
	switch {
	case len(id) > 0 && b.id != string(id):
		t.assign(b, mac, string(id))
	case b.mac != mac || t.byMAC[macKey{b.net, mac}] != b:
		t.assign(b, mac, b.id)
	}
}

// hold finds a free address of n for a client that has none and holds it: the
// one it asks for, a never used one, the one that is free longest, or that of
// the oldest hold. Nil: the pool is full.
func (t *table) hold(n *Subnet, mac plan.MAC, id []byte, want netip.Addr, now int64) *binding {
	p := t.pools[n.Prefix]
	if p == nil {
		return nil
	}
	var b *binding
	if p.holds.Len() >= p.limit {
		b = p.holds[0]
	} else if b = t.claim(p, want, now); b == nil {
		if b = t.fresh(p); b == nil {
			b = p.oldest(now)
		}
	}
	if b != nil {
		t.give(b, mac, id, now)
	}
	return b
}

// take holds exactly want for a client, if it is free.
func (t *table) take(n *Subnet, mac plan.MAC, id []byte, want netip.Addr, now int64) *binding {
	p := t.pools[n.Prefix]
	if p == nil {
		return nil
	}
	b := t.claim(p, want, now)
	if b != nil {
		t.give(b, mac, id, now)
	}
	return b
}

// give makes b the hold of another client than before.
func (t *table) give(b *binding, mac plan.MAC, id []byte, now int64) {
	t.assign(b, mac, string(id))
	b.hostname, b.stored = "", 0
	b.version++ // what is still on its way to the disk is not this client's
	t.set(b, held, now+holdFor)
}

// claim gives the binding of want if it is free, a new one if it never was used.
func (t *table) claim(p *pool, want netip.Addr, now int64) *binding {
	if !p.subnet.Pool.Contains(want) || t.barred[want] {
		return nil
	}
	b := t.byAddr[want]
	if b == nil {
		return t.add(p, want)
	}
	if b.live(now) {
		return nil
	}
	return b
}

func (t *table) fresh(p *pool) *binding {
	for a := p.next; p.subnet.Pool.Contains(a); a = a.Next() {
		if t.byAddr[a] == nil && !t.barred[a] {
			p.next = a.Next()
			return t.add(p, a)
		}
	}
	p.next = netip.Addr{}
	return nil
}

func (t *table) add(p *pool, a netip.Addr) *binding {
	b := &binding{addr: a, net: p.subnet.Prefix, pool: p}
	t.byAddr[a] = b
	heap.Push(&p.holds, b)
	return b
}

// oldest gives the binding that is free longest, else the oldest hold.
func (p *pool) oldest(now int64) *binding {
	var b *binding
	if p.leases.Len() > 0 && !p.leases[0].live(now) {
		b = p.leases[0]
	}
	if p.holds.Len() > 0 && (b == nil || p.holds[0].expires < b.expires) {
		b = p.holds[0]
	}
	return b
}

// load puts a stored lease into the table; adopt follows.
func (t *table) load(l *state.Lease) {
	b := &binding{
		addr: l.Address, mac: l.MAC, id: string(l.ClientID), hostname: l.Hostname,
		state: bound, expires: l.Expires.Unix(), stored: l.Expires.Unix(),
	}
	if l.State == state.Declined {
		b.state = declined
	}
	t.byAddr[l.Address] = b
}

// lease is b as it is stored.
func (b *binding) lease() state.Lease {
	l := state.Lease{Address: b.addr, MAC: b.mac, Hostname: b.hostname, Expires: time.Unix(b.expires, 0), State: state.Bound}
	if b.id != "" {
		l.ClientID = []byte(b.id)
	}
	if b.state == declined {
		l.State = state.Declined
	}
	return l
}
