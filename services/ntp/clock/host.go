package clock

import (
	"context"
	"net/netip"
	"time"
)

// Host is the clock of this machine.
type Host struct {
	// Chronyd is its command port; nothing need be there.
	Chronyd netip.AddrPort
}

// NewHost is the clock of this machine with chronyd where it is unless told otherwise.
func NewHost() *Host {
	return &Host{Chronyd: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 323)}
}

// Read gives the state now. A chronyd that does not answer is not there: then the kernel is asked.
func (h *Host) Read(ctx context.Context) (State, error) {
	now := time.Now()
	if s, err := readChronyd(ctx, h.Chronyd, now); err == nil {
		return s, nil
	}
	return readKernel(now)
}

// Precision is the log2 of the seconds that reading the clock takes, or of its
// tick, if that is longer.
func Precision() int8 {
	best := time.Second
	for range 100 {
		begun := time.Now()
		d := time.Since(begun)
		for d == 0 {
			d = time.Since(begun)
		}
		best = min(best, d)
	}
	p := int8(0)
	for unit := time.Second; unit > best; unit /= 2 {
		p--
	}
	return p
}
