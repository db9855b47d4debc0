package engine

import (
	"testing"
	"unsafe"
)

// TestTunnelSize: the bar is a fifth of HAProxy's 3.2 KB for an idle tunnel.
func TestTunnelSize(t *testing.T) {
	if size := unsafe.Sizeof(tunnel{}); size > 512 {
		t.Errorf("a tunnel is %d bytes", size)
	} else {
		t.Logf("a tunnel is %d bytes", size)
	}
}

// TestGenerations: a handle of a tunnel that ended does not fit its successor.
func TestGenerations(t *testing.T) {
	var s slab
	idx, a := s.take()
	a.phase = open
	old := a.gen
	s.put(idx, a)
	again, b := s.take()
	if again != idx || b.gen == old || b.phase != free {
		t.Errorf("slot %d again as %d: generation %d after %d, phase %d", idx, again, b.gen, old, b.phase)
	}
}

func TestSlabEach(t *testing.T) {
	var s slab
	want := map[int32]bool{}
	for i := range 3 * block {
		idx, x := s.take()
		if i%2 == 0 {
			x.phase = open
			want[idx] = true
		}
	}
	s.each(func(idx int32, _ *tunnel) {
		if !want[idx] {
			t.Errorf("tunnel %d is free, or seen twice", idx)
		}
		delete(want, idx)
	})
	if len(want) > 0 {
		t.Errorf("not seen: %v", want)
	}
}
