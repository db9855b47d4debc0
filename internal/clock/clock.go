// Package clock notices when somebody sets the clock of the machine.
package clock

import "time"

// leastStep is the least change of the clock that is not its everyday correction.
const leastStep = 2 * time.Second

// Clock is the time of leases. It notices when somebody sets it.
type Clock struct {
	Now    func() time.Time
	Uptime func() time.Duration // nobody sets this one

	asked   bool
	lastNow time.Time
	lastUp  time.Duration
}

// New gives the clock of this machine.
func New() Clock {
	start := time.Now()
	return Clock{Now: time.Now, Uptime: func() time.Duration { return time.Since(start) }}
}

// Read gives the Unix time, and by how many seconds the clock was set since the last call.
func (c *Clock) Read() (now, step int64) {
	wall, up := c.Now().Round(0), c.Uptime()
	if c.asked {
		if d := wall.Sub(c.lastNow) - (up - c.lastUp); d.Abs() >= leastStep {
			step = int64(d.Round(time.Second) / time.Second)
		}
	}
	c.asked, c.lastNow, c.lastUp = true, wall, up
	return wall.Unix(), step
}
