package ntp

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"time"
)

const (
	// Each client may ask perSecond times a second, and burst times at once: `iburst`
	// and ntpdate ask four to eight times within seconds.
	perSecond = 8
	burst     = 32
	// kissEvery is the time between two answers that tell a client to slow down.
	kissEvery = time.Second
	// One request in leak is answered beyond the limit, so that whoever forges a
	// node's address cannot cut that node off altogether.
	leak = 16
)

const (
	// sets and ways make room for 4096 clients, in 160 KiB a reader. Those that asked
	// longest ago give way.
	sets = 1024
	ways = 4
)

// pass is what becomes of a request.
type pass int

const (
	answer pass = iota
	kiss        // say that it is too much
	drop
)

// limits are the clients of one reader.
type limits struct {
	seed    [2]uint64
	clients [sets][ways]client
}

// client is what is known of one address.
type client struct {
	hi, lo uint64        // the address
	next   time.Duration // when its bucket would be full again; 0: the place is free
	kissed time.Duration
}

func newLimits() *limits { return &limits{seed: [2]uint64{rand.Uint64(), rand.Uint64()}} }

// take counts a request of a, at a time since the start, and says what becomes of it.
func (l *limits) take(a netip.Addr, now time.Duration) pass {
	const each = time.Second / perSecond
	c := l.find(a)
	c.next = max(c.next, now)
	if c.next-now <= (burst-1)*each {
		c.next += each
		return answer
	}
	if now-c.kissed >= kissEvery {
		c.kissed = now
		return kiss
	}
	if rand.Uint32()%leak == 0 {
		return answer
	}
	return drop
}

// find gives the place of a, which may have been another's.
func (l *limits) find(a netip.Addr) *client {
	b := a.As16()
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	// A secret hash: nobody can choose addresses that push a certain one out.
	x, y := bits.Mul64(hi^l.seed[0], lo^l.seed[1])
	set := &l.clients[(x^y)%sets]
	oldest := &set[0]
	for i := range set {
		c := &set[i]
		if c.next != 0 && c.hi == hi && c.lo == lo {
			return c
		}
		if c.next < oldest.next {
			oldest = c
		}
	}
	*oldest = client{hi: hi, lo: lo, kissed: -kissEvery}
	return oldest
}
