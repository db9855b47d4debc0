package engine

import (
	"net/netip"

	"helperd/plan"
	"helperd/timeline"
)

const (
	noteTable = 4096 // events that are remembered
	noteBurst = 100  // events of strangers at once
	noteRate  = 20   // and then a second

	sourceTable = 4096 // senders that are counted
	sourceBurst = 40   // messages of one sender at once
	sourceRate  = 10   // and then a second
	relayFactor = 50   // times as many from a relay: it speaks for a whole network
)

// bucket is a budget that fills with time.
type bucket struct {
	left  int64
	since int64 // Unix seconds
}

// take spends one of b, which has at most burst and gains rate a second.
func (b *bucket) take(burst, rate, now int64) bool {
	if passed := now - b.since; passed > 0 {
		b.left, b.since = min(b.left+rate*min(passed, burst), burst), now
	}
	if b.left <= 0 {
		return false
	}
	b.left--
	return true
}

type noteKey struct {
	mac  plan.MAC
	kind timeline.Kind
	text string
}

// limits keep a flood of packets from becoming a flood of work or of events.
type limits struct {
	seen      map[noteKey]int64
	strangers bucket
	sources   map[sender]*bucket
}

// sender is who is counted: a client on a link, or a relay alone.
type sender struct {
	link, client netip.Addr // link: where the relay heard the client; zero: here
	relay        netip.Addr
}

func newLimits() limits {
	return limits{seen: map[noteKey]int64{}, strangers: bucket{left: noteBurst}, sources: map[sender]*bucket{}}
}

// tell reports whether an event may be told: the same one at most once a
// second, and those of machines in no list share a small budget.
func (l *limits) tell(k noteKey, declared bool, now int64) bool {
	if at, ok := l.seen[k]; ok && at == now {
		return false
	}
	if !declared && !l.strangers.take(noteBurst, noteRate, now) {
		return false
	}
	if len(l.seen) >= noteTable {
		clear(l.seen)
	}
	l.seen[k] = now
	return true
}

// hear reports whether m, which came from an address, is worth work. Who floods
// through a relay is stopped before the relay is.
func (l *limits) hear(m *message, from netip.Addr, now int64) bool {
	n := len(m.layers)
	if n == 0 {
		return l.spend(sender{client: from}, 1, now)
	}
	return l.spend(sender{link: m.relayLink(), client: m.layers[n-1].peer}, 1, now) && l.spend(sender{relay: from}, relayFactor, now)
}

// spend counts a message of a sender that may send factor times as many as a client.
func (l *limits) spend(who sender, factor, now int64) bool {
	b := l.sources[who]
	if b == nil {
		if len(l.sources) >= sourceTable {
			clear(l.sources) // invented senders push nobody out for longer than a burst
		}
		b = &bucket{left: sourceBurst * factor, since: now}
		l.sources[who] = b
	}
	return b.take(sourceBurst*factor, sourceRate*factor, now)
}
