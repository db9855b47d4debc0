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
	sources   map[netip.Addr]*bucket
}

func newLimits() limits {
	return limits{seen: map[noteKey]int64{}, strangers: bucket{left: noteBurst}, sources: map[netip.Addr]*bucket{}}
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

// hear reports whether a message of this sender is worth work.
func (l *limits) hear(from netip.Addr, relay bool, now int64) bool {
	factor := int64(1)
	if relay {
		factor = relayFactor
	}
	b := l.sources[from]
	if b == nil {
		if len(l.sources) >= sourceTable {
			clear(l.sources) // invented senders push nobody out for longer than a burst
		}
		b = &bucket{left: sourceBurst * factor, since: now}
		l.sources[from] = b
	}
	return b.take(sourceBurst*factor, sourceRate*factor, now)
}
