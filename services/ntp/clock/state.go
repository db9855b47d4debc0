package clock

import "time"

// Who keeps the clock.
const (
	Chronyd = "chronyd"
	Kernel  = "kernel" // some time daemon, by what it told the kernel
)

const (
	// LocalStratum is that of a clock that nothing keeps, as of chrony's local mode:
	// any other server is better, and clients follow this one while there is no other.
	LocalStratum = 10
	// keptStratum is that of a clock of which only the kernel says that it is kept:
	// worse than all whose distance from a primary server is known.
	keptStratum = 8
)

// Reference ids where there is none of an upstream server. Clients see a loop
// when the id is their own address, so these are of this machine.
var (
	localID = [4]byte{127, 127, 1, 1} // the local clock, as chronyd and ntpd have it
	keptID  = [4]byte{127, 0, 0, 1}   // a daemon of this machine
)

// State is what a time server says of its clock.
type State struct {
	By           string // Chronyd or Kernel
	Synchronised bool   // false: the clock runs free, and the rest is that of LocalStratum
	Leap         uint8  // 1 or 2: a leap second is inserted or deleted at the end of the day
	Stratum      uint8
	RefID        [4]byte
	RefTime      time.Time     // when the clock was set last
	Delay        time.Duration // to the primary server and back
	Dispersion   time.Duration // the most by which the clock can be wrong, beyond half of Delay
}

// local is the state of a clock that nothing keeps.
func local(by string, now time.Time) State {
	return State{By: by, Stratum: LocalStratum, RefID: localID, RefTime: now.Truncate(time.Second)}
}
