package engine

import "math/bits"

// A wheel holds at most one timer a tunnel, with a resolution of 64 ms. Timers
// are lazy: activity only notes the time, and a timer that fires too early is
// set again. One further away than a round fires once a round.
type wheel struct {
	now   int64 // last tick that was fired
	heads [slots]int32
	used  [slots / 64]uint64
}

const (
	slots    = 512
	tickBits = 6 // a tick is 64 ms
	none     = -1
)

// links are the wheel's part of a tunnel.
type links struct {
	next, prev int32
	slot       int32 // none: no timer set
}

func newWheel(nowMS int64) *wheel {
	w := &wheel{now: nowMS >> tickBits}
	for i := range w.heads {
		w.heads[i] = none
	}
	return w
}

// set makes the timer of idx fire at about dueMS; it replaces one that is set.
func (w *wheel) set(at func(int32) *links, idx int32, dueMS int64) {
	w.unset(at, idx)
	tick := min(max(dueMS>>tickBits+1, w.now+1), w.now+slots-1)
	slot, l := int32(tick%slots), at(idx)
	*l = links{next: w.heads[slot], prev: none, slot: slot}
	if l.next != none {
		at(l.next).prev = idx
	}
	w.heads[slot] = idx
	w.used[slot/64] |= 1 << (slot % 64)
}

func (w *wheel) unset(at func(int32) *links, idx int32) {
	l := at(idx)
	if l.slot == none {
		return
	}
	if l.prev != none {
		at(l.prev).next = l.next
	} else {
		w.heads[l.slot] = l.next
		if l.next == none {
			w.used[l.slot/64] &^= 1 << (l.slot % 64)
		}
	}
	if l.next != none {
		at(l.next).prev = l.prev
	}
	l.slot = none
}

// pop takes a timer that is due, or gives none. Timers leave one by one, so
// that those left are not lost when a handler panics.
func (w *wheel) pop(at func(int32) *links, nowMS int64) int32 {
	for target := nowMS >> tickBits; w.now < target; {
		tick := w.now + 1
		if head := w.heads[tick%slots]; head != none {
			w.unset(at, head)
			return head
		}
		// Ticks without a timer are skipped; after a long sleep, all of them.
		if skip := w.wait(); skip < 0 || tick+int64(skip) > target {
			w.now = target
		} else {
			w.now = tick + int64(skip) - 1
		}
	}
	return none
}

// wait is the number of ticks from the next tick to the first timer, or -1 when there is none.
func (w *wheel) wait() int {
	first := int((w.now + 1) % slots)
	for k := 0; k <= len(w.used); k++ {
		word := (first/64 + k) % len(w.used)
		b := w.used[word]
		if k == 0 {
			b &= ^uint64(0) << (first % 64)
		}
		if k == len(w.used) {
			b &= 1<<(first%64) - 1
		}
		if b != 0 {
			return (word*64 + bits.TrailingZeros64(b) - first + slots) % slots
		}
	}
	return -1
}

// delay is how many milliseconds to sleep until the next timer, or -1.
func (w *wheel) delay(nowMS int64) int {
	n := w.wait()
	if n < 0 {
		return -1
	}
	return int(max(0, (w.now+1+int64(n))<<tickBits-nowMS))
}
