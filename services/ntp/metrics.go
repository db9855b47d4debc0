package ntp

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are totals since the start.
type counters struct {
	answered, limited, strangers, malformed, other, unsent atomic.Uint64
}

// turnCount counts one batch, so that the shared counters are touched once.
type turnCount struct {
	answered, limited, strangers, malformed, other, unsent uint64
}

func (c *counters) add(t *turnCount) {
	for _, p := range [...]struct {
		to *atomic.Uint64
		n  uint64
	}{
		{&c.answered, t.answered},
		{&c.limited, t.limited},
		{&c.strangers, t.strangers},
		{&c.malformed, t.malformed},
		{&c.other, t.other},
		{&c.unsent, t.unsent},
	} {
		if p.n > 0 {
			p.to.Add(p.n)
		}
	}
}

func (s *Service) describeMetrics() {
	if s.host.Metrics == nil {
		return
	}
	for result, c := range map[string]*atomic.Uint64{
		"answered": &s.count.answered, "limited": &s.count.limited, "stranger": &s.count.strangers,
		"malformed": &s.count.malformed, "other_mode": &s.count.other, "unsent": &s.count.unsent,
	} {
		s.host.Metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "helperd_ntp_requests_total", Help: "Requests by what became of them.", ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(c.Load()) }))
	}
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"helperd_ntp_clock_synchronised", "1 while something keeps the clock of this machine.", func() float64 {
			if s.kept.Load().Synchronised {
				return 1
			}
			return 0
		}},
		{"helperd_ntp_clock_stratum", "Stratum that is served.", func() float64 { return float64(s.kept.Load().Stratum) }},
		{"helperd_ntp_root_delay_seconds", "Time to the primary server and back.", func() float64 { return s.kept.Load().Delay.Seconds() }},
		{"helperd_ntp_root_dispersion_seconds", "The most by which the clock is wrong, beyond half of the root delay.", func() float64 { return s.kept.Load().Dispersion.Seconds() }},
	} {
		s.host.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value))
	}
}

// counts are the counters as status shows them.
func (s *Service) counts() map[string]uint64 {
	return map[string]uint64{
		"answered": s.count.answered.Load(), "limited": s.count.limited.Load(), "strangers": s.count.strangers.Load(),
		"malformed": s.count.malformed.Load(), "other_modes": s.count.other.Load(),
	}
}
