package table

import "time"

// ClearMax makes the highest values begin anew.
func (t *Traffic) ClearMax() {
	t.MaxActive.Store(max(t.Active.Load(), 0))
	t.Rate.max.Store(0)
}

// Throttle is the share of its weight, in percent, that a server in slow start has.
func (g *Group) Throttle(m *Member, now time.Time) (percent int, slow bool) {
	from := m.ramp.Load()
	if from == 0 || g.Config.SlowStart <= 0 {
		return 100, false
	}
	age := now.Sub(time.Unix(0, from))
	if age >= g.Config.SlowStart {
		return 100, false
	}
	return max(int(max(age, 0)*100/g.Config.SlowStart), 1), true
}
