package engine

import (
	"helperd/plan"
	"helperd/timeline"
)

const (
	noteTable = 4096 // MACs, kinds and texts that are remembered
	noteBurst = 100  // events of strangers at once
	noteRate  = 20   // and then a second
)

type noteKey struct {
	mac  plan.MAC
	kind timeline.Kind
	text string
}

// notes keeps a flood of packets from becoming a flood of events: the same
// one at most once a second, and those of machines in no list share a small budget.
type notes struct {
	seen   map[noteKey]int64
	budget int64
	since  int64
}

func (l *notes) allow(k noteKey, declared bool, now int64) bool {
	if l.seen == nil {
		l.seen, l.budget = map[noteKey]int64{}, noteBurst
	}
	if !declared {
		if passed := now - l.since; passed > 0 {
			l.budget, l.since = min(l.budget+noteRate*min(passed, noteBurst), noteBurst), now
		}
		if l.budget <= 0 {
			return false // in a flood, before anything costly
		}
	}
	if at, ok := l.seen[k]; ok && at == now {
		return false
	}
	if !declared {
		l.budget--
	}
	if len(l.seen) >= noteTable {
		clear(l.seen)
	}
	l.seen[k] = now
	return true
}
