package engine

import (
	"container/heap"
	"encoding/binary"
	"net/netip"

	"helperd/plan"
	"helperd/state"
)

// table has all bindings of all pools.
type table struct {
	byAddr map[uint32]*binding // see at
	byID   map[idKey]*binding
	byMAC  map[macKey]*binding // the latest one of a MAC
	pools  map[netip.Prefix]*pool
	barred map[netip.Addr]bool
	turn   uint64
}

// Keys are small and most have no pointer: there may be as many as there are addresses.
type idKey struct {
	net uint16 // Subnet.index
	id  string
}

type macKey struct {
	net uint16
	mac plan.MAC
}

func newTable() *table {
	return &table{byAddr: map[uint32]*binding{}, byID: map[idKey]*binding{}, byMAC: map[macKey]*binding{}, pools: map[netip.Prefix]*pool{}}
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
		b.pool, b.net, b.stocked = nil, 0, false
		n := p.at(b.addr())
		if n == nil {
			continue
		}
		b.net = n.index
		t.index(b)
		if n.Pool.Contains(b.addr()) && !t.barred[b.addr()] {
			b.pool = t.pools[n.Prefix]
			heap.Push(b.pool.queueOf(b.state), b)
		}
	}
}

// at gives the binding of an address, or nil.
func (t *table) at(a netip.Addr) *binding {
	if !a.Is4() {
		return nil
	}
	return t.byAddr[key(a)]
}

// key is an IPv4 address as byAddr has it.
func key(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// index makes b found by its client, unless something newer is.
func (t *table) index(b *binding) {
	if b.state == declined || b.state == free {
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
		if b := t.byID[idKey{n.index, string(id)}]; b != nil {
			return b
		}
	}
	if b := t.byMAC[macKey{n.index, mac}]; b != nil && (b.id == "" || len(id) == 0) {
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
		heap.Fix(b.pool.queueOf(s), int(b.index))
		return
	}
	if b.pool != nil {
		heap.Remove(b.pool.queueOf(b.state), int(b.index))
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
		if b = p.fromStock(now); b == nil {
			b = t.fresh(p)
		}
		if b == nil {
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
	b.hostname, b.stored, b.promised, b.stocked = "", 0, 0, false
	b.ended = b.version // what is still on its way to the disk is not this client's
	b.version++
	t.set(b, held, now+holdFor)
}

// claim gives the binding of want if it is free, a new one if it never was used.
func (t *table) claim(p *pool, want netip.Addr, now int64) *binding {
	if !p.subnet.Pool.Contains(want) || t.barred[want] {
		return nil
	}
	b := t.at(want)
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
		if t.at(a) == nil && !t.barred[a] {
			p.next = a.Next()
			return t.add(p, a)
		}
	}
	p.next = netip.Addr{}
	return nil
}

func (t *table) add(p *pool, a netip.Addr) *binding {
	b := &binding{ip: key(a), net: p.subnet.index, pool: p}
	t.byAddr[b.ip] = b
	heap.Push(&p.holds, b)
	return b
}

// load puts a stored lease into the table; adopt follows.
func (t *table) load(l *state.Lease) {
	b := &binding{
		ip: key(l.Address), mac: l.MAC, id: string(l.ClientID), hostname: l.Hostname,
		state: bound, expires: l.Expires.Unix(), stored: l.Expires.Unix(), promised: l.Expires.Unix(),
	}
	if l.State == state.Declined {
		b.state = declined
	}
	t.byAddr[b.ip] = b
}
