package limit

import (
	"encoding/binary"
	"hash/maphash"
	"testing"
)

func TestAccount(t *testing.T) {
	table := Table{Rate: Rate{Burst: 4, PerSecond: 2, Most: 3, Rows: 8}}
	spend := func(now int64, factor int32, leave int32) (n int) {
		for range 20 {
			if table.Spend(table.Find(7, now, factor), leave) {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		name          string
		now           int64
		factor, leave int32
		want          int
	}{
		{"as many as in any second", 100, 1, 0, 3},
		{"the last one and what came", 101, 1, 0, 3},
		{"what came in a second", 102, 1, 0, 2},
		{"after a pause no more than full", 200, 1, 0, 3},
		{"with something left", 201, 1, 2, 1},
		{"three times as much", 300, 3, 0, 3},
		{"the clock was set back: nothing for nothing", 50, 1, 0, 3},
		{"and goes on from there", 51, 1, 0, 3},
	} {
		if got := spend(tt.now, tt.factor, tt.leave); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestNew(t *testing.T) {
	table := Table{Rate: Rate{Burst: 4, PerSecond: 2, Rows: 8}}
	for i, tt := range []struct {
		key  uint64
		now  int64
		want bool
	}{{7, 100, true}, {7, 100, true}, {7, 101, false}, {8, 101, true}} {
		if got := table.Find(tt.key, tt.now, 1).New(); got != tt.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

func TestRepay(t *testing.T) {
	table := Table{Rate: Rate{Burst: 2, PerSecond: 1, Rows: 8}}
	a := table.Find(7, 100, 1)
	table.Spend(a, 0)
	a.Repay(10)
	for i, want := range []bool{true, true, false} {
		if got := table.Spend(a, 0); got != want {
			t.Errorf("%d: %v; it holds two, however much is given back", i, got)
		}
	}
}

// Any number of keys takes no more room than the table has, and those that were
// heard a short time ago are still known.
func TestBounded(t *testing.T) {
	seed, b := maphash.MakeSeed(), make([]byte, 8)
	table := Table{Rate: Rate{Burst: 2, PerSecond: 1, Rows: 1024}}
	key := func(i int) uint64 {
		binary.BigEndian.PutUint64(b, uint64(i))
		return Key(seed, b)
	}
	i := 0
	if n := testing.AllocsPerRun(10000, func() { i++; table.Find(key(i), int64(i/100), 1) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	known := 0
	for k := i - 1000; k < i; k++ {
		if !table.Find(key(k), int64(i/100)+1, 1).New() {
			known++
		}
	}
	if known < 900 {
		t.Errorf("%d of the last 1000 are known", known)
	}
}
