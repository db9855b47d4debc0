package engine

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"hash/fnv"
	"math/bits"
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
	// mostHolds bounds the offers of a pool, mostBindings all that is remembered of it:
	// past them the oldest offer gives way, and then what has expired. Leases do not.
	mostHolds    = 4096
	mostBindings = 65536
	// guesses is how many addresses are tried for a client before the pool is gone through in order.
	guesses = 16
)

// binding is one pool address that somebody has, had, or was offered. It is free
// once it has expired, and still remembers its last client then.
type binding struct {
	addr     netip.Addr
	net      netip.Prefix
	id       string // IAID and DUID
	mac      plan.MAC
	hostname string
	state    bindingState
	expires  int64  // Unix seconds
	stored   int64  // until when the disk has it as this client's, whatever became of records under way; 0: not known
	promised int64  // until when the client was told that the address is its own; 0: never
	version  uint64 // of the last record made of it
	ended    uint64 // records up to this version are of a tenancy that is over

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

// Record is a lease on its way to the disk.
type Record struct {
	state.Lease
	version uint64
}

// record makes a record of b as it is now.
func (b *binding) record() Record {
	b.stored = min(b.stored, b.expires) // the disk may have either
	b.version++
	return Record{b.lease(), b.version}
}

// end closes the tenancy of b's client, with the record that says so.
func (b *binding) end() { b.promised, b.stored, b.ended = 0, 0, b.version }

// lease is b as it is stored.
func (b *binding) lease() state.Lease {
	l := state.Lease{Address: b.addr, MAC: b.mac, ClientID: []byte(b.id), Hostname: b.hostname, Expires: time.Unix(b.expires, 0), State: state.Bound}
	if b.state == declined {
		l.State = state.Declined
	}
	return l
}

// queue is a heap of bindings, the first to expire on top.
type queue []*binding

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].expires, q[j].expires), q[i].addr.Compare(q[j].addr)) < 0
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
	span   uint64     // how far the last address is from the first, as far as that is counted
	holds  queue
	leases queue // all others
}

func newPool(n *Subnet) *pool {
	first, last := n.Pool.First.As16(), n.Pool.Last.As16()
	high := binary.BigEndian.Uint64(last[:8]) - binary.BigEndian.Uint64(first[:8])
	span, borrow := bits.Sub64(binary.BigEndian.Uint64(last[8:]), binary.BigEndian.Uint64(first[8:]), 0)
	if high-borrow > 0 {
		span = 1<<64 - 1
	}
	return &pool{subnet: n, next: n.Pool.First, span: span}
}

func (p *pool) queueOf(s bindingState) *queue {
	if s == held {
		return &p.holds
	}
	return &p.leases
}

// guess is where the address of a client is looked for in try i: always the same
// ones, so that a client finds its own again when all else was forgotten.
func (p *pool) guess(id string, i uint64) netip.Addr {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	by := h.Sum64() + i
	if p.span < 1<<64-1 {
		by %= p.span + 1
	}
	a := p.subnet.Pool.First.As16()
	low, carry := bits.Add64(binary.BigEndian.Uint64(a[8:]), by, 0)
	binary.BigEndian.PutUint64(a[8:], low)
	binary.BigEndian.PutUint64(a[:8], binary.BigEndian.Uint64(a[:8])+carry)
	return netip.AddrFrom16(a)
}

// full reports whether nothing more is remembered of p.
func (p *pool) full() bool { return p.holds.Len()+p.leases.Len() >= mostBindings }

// oldest gives the binding that is free longest, else the oldest hold.
func (p *pool) oldest(now int64) *binding {
	if p.leases.Len() > 0 && !p.leases[0].live(now) {
		return p.leases[0]
	}
	if p.holds.Len() > 0 {
		return p.holds[0]
	}
	return nil
}

type idKey struct {
	net netip.Prefix
	id  string
}

// table has all bindings of all pools.
type table struct {
	byAddr map[netip.Addr]*binding
	byID   map[idKey]*binding
	pools  map[netip.Prefix]*pool
	barred map[netip.Addr]bool
}

func newTable() *table {
	return &table{byAddr: map[netip.Addr]*binding{}, byID: map[idKey]*binding{}, pools: map[netip.Prefix]*pool{}}
}

// adopt fits the bindings into the pools of p. Those that are in no pool any
// more stay until they expire, and nobody is given their address meanwhile.
func (t *table) adopt(p *Policy, now int64) {
	clear(t.pools)
	clear(t.byID)
	t.barred = p.barred
	for _, n := range p.subnets {
		if n.Pool.IsValid() {
			t.pools[n.Prefix] = newPool(n)
		}
	}
	for a, b := range t.byAddr {
		b.pool, b.net = nil, netip.Prefix{}
		n := p.at(a)
		outside := n == nil || !n.Pool.Contains(a) || t.barred[a]
		if n != nil {
			b.net = n.Prefix
			if old := t.byID[idKey{b.net, b.id}]; b.state != declined && (old == nil || old.expires <= b.expires) {
				t.byID[idKey{b.net, b.id}] = b
			}
		}
		switch {
		case !outside:
			b.pool = t.pools[n.Prefix]
			heap.Push(b.pool.queueOf(b.state), b)
		case b.state == held || !b.live(now):
			t.forget(b)
		}
	}
}

// forget drops b, which is in no pool.
func (t *table) forget(b *binding) {
	t.unindex(b)
	delete(t.byAddr, b.addr)
}

func (t *table) unindex(b *binding) {
	if k := (idKey{b.net, b.id}); t.byID[k] == b {
		delete(t.byID, k)
	}
}

// find gives the binding of a client's IA in n, or nil.
func (t *table) find(n *Subnet, id string) *binding { return t.byID[idKey{n.Prefix, id}] }

// set changes state and expiry of b.
func (t *table) set(b *binding, s bindingState, expires int64) {
	if b.pool != nil {
		heap.Remove(b.pool.queueOf(b.state), b.index)
	}
	b.state, b.expires = s, expires
	if b.pool != nil {
		heap.Push(b.pool.queueOf(s), b)
	}
}

// hold finds a free address of n for a client's IA and holds it: the one that it
// asks for, one of its own guesses, a never used one, the one that is free
// longest, or that of the oldest hold. Nil: the pool is full.
func (t *table) hold(n *Subnet, id string, want netip.Addr, now int64) *binding {
	p := t.pools[n.Prefix]
	if p == nil {
		return nil
	}
	var b *binding
	if p.holds.Len() >= mostHolds {
		b = p.holds[0]
	} else if b = t.claim(p, want, now); b == nil {
		for i := uint64(0); i < guesses && b == nil; i++ {
			b = t.claim(p, p.guess(id, i), now)
		}
		if b == nil {
			b = t.fresh(p)
		}
		if b == nil {
			b = p.oldest(now)
		}
	}
	if b != nil {
		t.give(b, id, now)
	}
	return b
}

// take holds exactly want, if it is free.
func (t *table) take(n *Subnet, id string, want netip.Addr, now int64) *binding {
	p := t.pools[n.Prefix]
	if p == nil {
		return nil
	}
	b := t.claim(p, want, now)
	if b != nil {
		t.give(b, id, now)
	}
	return b
}

// give makes b the hold of another client than before.
func (t *table) give(b *binding, id string, now int64) {
	t.unindex(b)
	b.id = id
	t.byID[idKey{b.net, id}] = b
	b.mac, b.hostname, b.stored, b.promised = plan.MAC{}, "", 0, 0
	b.ended = b.version // what is still on its way to the disk is not this client's
	b.version++
	t.set(b, held, now+holdFor)
}

// claim gives the binding of want if it is free, a new one if it never was used.
func (t *table) claim(p *pool, want netip.Addr, now int64) *binding {
	if !p.subnet.Pool.Contains(want) || t.barred[want] {
		return nil
	}
	b := t.byAddr[want]
	switch {
	case b == nil && p.full():
		return nil
	case b == nil:
		return t.add(p, want)
	case b.live(now):
		return nil
	}
	return b
}

func (t *table) fresh(p *pool) *binding {
	if p.full() {
		return nil
	}
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

// load puts a stored lease into the table; adopt follows.
func (t *table) load(l *state.Lease) {
	b := &binding{
		addr: l.Address, mac: l.MAC, id: string(l.ClientID), hostname: l.Hostname,
		state: bound, expires: l.Expires.Unix(), stored: l.Expires.Unix(), promised: l.Expires.Unix(),
	}
	if l.State == state.Declined {
		b.state = declined
	}
	t.byAddr[l.Address] = b
}
