package engine

import (
	"cmp"
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
// free once it has expired, and still remembers its last client then. There may
// be a hundred thousand: its fields are ordered and sized to take 112 bytes.
type binding struct {
	ip       uint32 // the address; see addr
	net      uint16 // index of the subnet; 0: none
	mac      plan.MAC
	index    int32  // in the heap of the pool
	checked  uint32 // when a probe found nobody at the address, in Unix seconds; 0: never
	state    bindingState
	probing  bool   // Checked will be called
	stocked  bool   // in the stock of its pool
	expires  int64  // Unix seconds
	stored   int64  // until when the disk has it as this client's, whatever became of records under way; 0: not known
	promised int64  // until when the client was told that the address is its own; 0: never
	version  uint64 // of the last record made of it
	ended    uint64 // records up to this version are of a tenancy that is over
	turn     uint64 // when state or expiry were set last, finer than the clock

	pool     *pool  // nil: the address is in no pool (any more)
	id       string // client id; empty: the client sends none
	hostname string
}

func (b *binding) addr() netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], b.ip)
	return netip.AddrFrom4(a)
}

type bindingState uint8

const (
	held bindingState = iota
	bound
	declined
	free // never used, and made for the stock
)

func (b *binding) live(now int64) bool { return b.expires > now }

// queue is a heap of bindings, the first to expire on top.
type queue []*binding

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].expires, q[j].expires), cmp.Compare(q[i].turn, q[j].turn)) < 0
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i]; q[i].index, q[j].index = int32(i), int32(j) }
func (q *queue) Push(x any)   { b := x.(*binding); b.index = int32(len(*q)); *q = append(*q, b) }
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
	stock  []*binding // probed ahead, the earliest first; those that are not marked so were taken meanwhile
	size   int        // addresses

	filled  bool  // there was a stock
	drained int64 // when it was last found used up
}

func newPool(n *Subnet) *pool {
	size := size(n.Pool)
	return &pool{subnet: n, next: n.Pool.First, limit: max(leastHolds, size-size/8), size: size}
}

// size is the number of addresses from the first to the last.
func size(r plan.Range) int {
	first, last := r.First.As4(), r.Last.As4()
	return int(binary.BigEndian.Uint32(last[:])-binary.BigEndian.Uint32(first[:])) + 1
}

func (p *pool) queueOf(s bindingState) *queue {
	if s == held {
		return &p.holds
	}
	return &p.leases
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

// record makes a record of b as it is now.
func (b *binding) record() Record {
	b.stored = min(b.stored, b.expires) // the disk may have either
	b.version++
	return Record{Lease: b.lease(), version: b.version}
}

// lease is b as it is stored.
func (b *binding) lease() state.Lease {
	l := state.Lease{Address: b.addr(), MAC: b.mac, Hostname: b.hostname, Expires: time.Unix(b.expires, 0), State: state.Bound}
	if b.id != "" {
		l.ClientID = []byte(b.id)
	}
	if b.state == declined {
		l.State = state.Declined
	}
	return l
}
