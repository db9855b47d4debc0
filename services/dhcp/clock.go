package dhcp

import "time"

// leastStep is the least change of the clock that is not its everyday correction.
const leastStep = 2 * time.Second

// clock is the time of the leases. It notices when somebody sets it.
type clock struct {
	now    func() time.Time
	uptime func() time.Duration // nobody sets this one

	asked   bool
	lastNow time.Time
	lastUp  time.Duration
}

func newClock() clock {
	start := time.Now()
	return clock{now: time.Now, uptime: func() time.Duration { return time.Since(start) }}
}

// read gives the Unix time, and by how many seconds the clock was set since the last call.
func (c *clock) read() (now, step int64) {
	wall, up := c.now().Round(0), c.uptime()
	if c.asked {
		if d := wall.Sub(c.lastNow) - (up - c.lastUp); d.Abs() >= leastStep {
			step = int64(d.Round(time.Second) / time.Second)
		}
	}
	c.asked, c.lastNow, c.lastUp = true, wall, up
	return wall.Unix(), step
}

// unix gives the time in Unix seconds, and tells the engine when the clock was
// set. The caller holds s.mu.
func (s *Service) unix() int64 {
	now, step := s.clock.read()
	if step != 0 {
		for _, r := range s.engine.Stepped(step, now) {
			a := new(answer)
			a.Record, a.Durable = r, true
			s.commits.add(a) // what finds no room is written when its client asks again
		}
	}
	return now
}
