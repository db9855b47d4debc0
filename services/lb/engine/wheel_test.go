package engine

import (
	"testing"

	"pgregory.net/rapid"
)

// TestWheel compares the wheel with a plain list: a timer fires once, not before
// it is due (or a round is over), and at most one tick after.
func TestWheel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 20
		var all [n]links
		for i := range all {
			all[i].slot = none
		}
		at := func(i int32) *links { return &all[i] }
		now := rapid.Int64Range(0, 1<<40).Draw(t, "start")
		w := newWheel(now)
		due := map[int32]int64{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch i := int32(rapid.IntRange(0, n-1).Draw(t, "timer")); rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				d := now + rapid.Int64Range(-100, 40000).Draw(t, "delay")
				w.set(at, i, d)
				due[i] = max(d, now)
			case 2:
				w.unset(at, i)
				delete(due, i)
			case 3:
				now += rapid.Int64Range(0, 60000).Draw(t, "sleep")
				for idx := w.pop(at, now); idx != none; idx = w.pop(at, now) {
					d, ok := due[idx]
					if !ok {
						t.Fatalf("timer %d fired and was not set", idx)
					}
					if d > now { // a round is over: set again, as the workers do
						if d-now > 40000 {
							t.Fatalf("timer %d fired %d ms early", idx, d-now)
						}
						w.set(at, idx, d)
						continue
					}
					delete(due, idx)
				}
				for i, d := range due {
					if now-d > 2<<tickBits {
						t.Fatalf("timer %d is %d ms late", i, now-d)
					}
				}
			}
			wait := w.delay(now)
			if (wait < 0) != (len(due) == 0) {
				t.Fatalf("%d timers, delay %d", len(due), wait)
			}
			for i, d := range due {
				if int64(wait) > max(0, d-now)+2<<tickBits {
					t.Fatalf("timer %d is due in %d ms, delay is %d", i, d-now, wait)
				}
			}
		}
	})
}

func TestWheelLongSleep(t *testing.T) {
	all := [1]links{{slot: none}}
	at := func(i int32) *links { return &all[i] }
	w := newWheel(0)
	w.set(at, 0, 5000)
	if got := w.pop(at, 1<<40); got != 0 {
		t.Errorf("after a long sleep pop gives %d", got)
	}
	if got := w.delay(1 << 40); got != -1 {
		t.Errorf("an empty wheel waits %d ms", got)
	}
}
