package table

import (
	"hash/maphash"
	"net/netip"
	"sync"

	"helperd/plan"
)

// A limiter must not grow with the number of clients: under a flood of them it
// forgets those first that are furthest from their limit.
const (
	shards  = 64
	sets    = 256 // a shard
	entries = 4   // a set
)

// A limiter bounds the rate of connections of each client: a bucket of as many tokens
// as connections are allowed in the time, which fills evenly. A bucket is kept as the
// time at which it will be full again, so that one number tells all and a full bucket
// need not be kept (the generic cell rate algorithm, ITU-T I.371).
type limiter struct {
	rate  plan.Rate
	cost  int64 // nanoseconds in which one token comes
	depth int64 // nanoseconds in which an empty bucket fills
	seed  maphash.Seed
	shard [shards]limiterShard
}

type limiterShard struct {
	mu   sync.Mutex
	sets [sets][entries]bucket
}

// A bucket is that of the client whose address has this hash.
type bucket struct {
	client uint64
	full   int64 // when it is full, nanoseconds of the caller's clock
}

// newLimiter gives nil when r sets no limit.
func newLimiter(r plan.Rate) *limiter {
	if r.Connections <= 0 || r.Per <= 0 {
		return nil
	}
	cost := max(int64(r.Per)/int64(r.Connections), 1)
	return &limiter{rate: r, cost: cost, depth: cost * int64(r.Connections), seed: maphash.MakeSeed()}
}

// take takes a token of a client at a time; false when there is none.
func (l *limiter) take(client netip.Addr, now int64) bool {
	key := maphash.Comparable(l.seed, client)
	s := &l.shard[key%shards]
	set := &s.sets[key/shards%sets]
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &set[0]
	for i := range set {
		if set[i].client == key {
			x = &set[i]
			break
		}
		if set[i].full < x.full {
			x = &set[i]
		}
	}
	if x.client != key {
		*x = bucket{client: key}
	}
	full := max(x.full, now) + l.cost
	if full > now+l.depth {
		return false
	}
	x.full = full
	return true
}

// Admits takes account of a connection of a client at a time, in nanoseconds of any clock that does
// not go back; false when the client opens more than the frontend's rate.
func (f *Frontend) Admits(client netip.Addr, now int64) bool {
	if f.limiter == nil || f.limiter.take(client, now) {
		return true
	}
	f.Counters.TooFast.Add(1)
	return false
}
