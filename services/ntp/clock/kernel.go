package clock

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Bits of timex.status (adjtimex(2)).
const (
	staIns      = 0x0010
	staDel      = 0x0020
	staUnsync   = 0x0040
	staClockErr = 0x1000
	staNano     = 0x2000
)

// readKernel asks the kernel. To read needs no capability.
func readKernel(now time.Time) (State, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return State{}, fmt.Errorf("adjtimex: %w", err)
	}
	return ofKernel(&t, now), nil
}

// ofKernel is the state that t tells.
func ofKernel(t *unix.Timex, now time.Time) State {
	if t.Status&(staUnsync|staClockErr) != 0 {
		return local(Kernel, now)
	}
	s := State{By: Kernel, Synchronised: true, Stratum: keptStratum, RefID: keptID, RefTime: now.Truncate(time.Second)}
	switch {
	case t.Status&staIns != 0:
		s.Leap = 1
	case t.Status&staDel != 0:
		s.Leap = 2
	}
	// maxerror bounds the distance to the primary server, half of the delay included,
	// and grows by 500 us a second; offset is what is still to be corrected.
	unit := time.Microsecond
	if t.Status&staNano != 0 {
		unit = time.Nanosecond
	}
	s.Dispersion = time.Duration(t.Maxerror)*time.Microsecond + (time.Duration(t.Offset) * unit).Abs()
	return s
}
