package nodes

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"helperd/timeline"
)

const (
	// clockFarOff is the difference from which a clock is wrong: less does no harm
	// to certificates, and the node's own time daemon takes care of it.
	clockFarOff = time.Minute
	// clockAgree is how much two times that a node tells may differ in how far they are off.
	clockAgree = 3 * time.Second
	// clockMemory is how long the first of two is remembered.
	clockMemory = 2 * time.Hour
	// clockSilence is the time between two events of a clock that stays wrong.
	clockSilence = 10 * time.Minute
)

// clocks is what nodes told of the time, for those that were far off.
type clocks struct {
	helperFree atomic.Bool  // nothing keeps the helper's own clock
	wrong      atomic.Int32 // nodes that an event was told of and that were not right since

	mu   sync.Mutex
	told map[string]*claim // by FQDN
}

// claim is what one node told last.
type claim struct {
	off   time.Duration // ahead of the helper's clock
	at    time.Time     // when it was told
	wrong time.Time     // when an event was told of it; zero: none
}

// HelperClock says whether something keeps the helper's own clock, with which those of nodes are compared.
func (r *Registry) HelperClock(kept bool) { r.clocks.helperFree.Store(!kept) }

// SawClock notes that the machine with that address told a time that was so far
// ahead of the helper's clock. Where the time may be a random number, as in
// requests of NTP, it counts only when the node is found as far off again.
func (r *Registry) SawClock(addr netip.Addr, off time.Duration, random bool) {
	if off.Abs() < clockFarOff && r.clocks.wrong.Load() == 0 {
		return // almost always
	}
	p := r.plan.Load()
	if p == nil {
		return
	}
	n := p.NodeByAddr(addr)
	if n == nil {
		return
	}
	if e, ok := r.clocks.judge(n.FQDN, off, random, r.now()); ok {
		e.Node, e.Addr = n.FQDN, addr
		r.events.Emit(e)
	}
}

// judge gives the event that is due, if there is one.
func (c *clocks) judge(fqdn string, off time.Duration, random bool, now time.Time) (timeline.Event, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.told[fqdn]
	if off.Abs() < clockFarOff { // a random number would hardly be so close
		if old != nil && !old.wrong.IsZero() {
			c.wrong.Add(-1)
			delete(c.told, fqdn)
			return timeline.Event{Kind: timeline.ClockRight, Detail: "clock: it is right now"}, true
		}
		delete(c.told, fqdn)
		return timeline.Event{}, false
	}
	if old == nil {
		old = &claim{}
		if c.told == nil {
			c.told = map[string]*claim{}
		}
		c.told[fqdn] = old
	}
	agrees := !old.at.IsZero() && now.Sub(old.at) < clockMemory && (off-old.off).Abs() <= clockAgree
	old.off, old.at = off, now
	if random && !agrees || now.Sub(old.wrong) < clockSilence {
		return timeline.Event{}, false
	}
	if old.wrong.IsZero() {
		c.wrong.Add(1)
	}
	old.wrong = now
	return timeline.Event{Kind: timeline.ClockWrong, Detail: "clock: " + describe(off, c.helperFree.Load())}, true
}

// forget drops what is known of nodes that are in no plan any more.
func (c *clocks) forget(gone func(fqdn string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for fqdn, old := range c.told {
		if gone(fqdn) {
			if !old.wrong.IsZero() {
				c.wrong.Add(-1)
			}
			delete(c.told, fqdn)
		}
	}
}

// describe says what is wrong with a clock that is so far ahead, and what to do.
func describe(off time.Duration, helperFree bool) string {
	where, effect := "behind", "not yet valid"
	if off > 0 {
		where, effect = "ahead of", "expired"
	}
	text := fmt.Sprintf("it is %s %s the helper's: certificates look %s to it; set the clock of its BMC or BIOS, to UTC", span(off.Abs()), where, effect)
	if helperFree {
		text += "; nothing keeps the helper's own clock, so look at that first"
	}
	return text
}

// span is d as people say it, by its largest unit.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{365 * day, "years"}, {day, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}} {
		if d >= 2*u.unit {
			return fmt.Sprintf("%d %s", (d+u.unit/2)/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}
