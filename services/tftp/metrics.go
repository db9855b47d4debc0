package tftp

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are totals since the start.
type counters struct {
	done, failed, probes, misses, refused atomic.Uint64
	duplicates, strays                    atomic.Uint64
	bytes, resent, untold                 atomic.Uint64
}

func (s *Service) describeMetrics() {
	if s.host.Metrics == nil {
		return
	}
	counter := func(name, help string, labels prometheus.Labels, c *atomic.Uint64) {
		s.host.Metrics.MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(c.Load()) },
		))
	}
	for result, c := range map[string]*atomic.Uint64{
		"done": &s.count.done, "failed": &s.count.failed, "probe": &s.count.probes, "miss": &s.count.misses, "refused": &s.count.refused,
		"repeated": &s.count.duplicates, "stray": &s.count.strays,
	} {
		counter("helperd_tftp_requests_total", "Requests by how they ended.", prometheus.Labels{"result": result}, c)
	}
	counter("helperd_tftp_sent_bytes_total", "Bytes of files that clients acknowledged.", nil, &s.count.bytes)
	counter("helperd_tftp_resends_total", "Packets and windows that were sent again.", nil, &s.count.resent)
	counter("helperd_tftp_untold_events_total", "Events of clients that are no nodes, beyond what is told of such.", nil, &s.count.untold)
	s.host.Metrics.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "helperd_tftp_active_transfers", Help: "Requests under way."}, func() float64 { return float64(s.jobs.running()) },
	))
}

// counts are the counters as status shows them.
func (s *Service) counts() map[string]uint64 {
	return map[string]uint64{
		"transfers": s.count.done.Load(), "failed": s.count.failed.Load(), "misses": s.count.misses.Load(), "refused": s.count.refused.Load(),
		"bytes": s.count.bytes.Load(), "resends": s.count.resent.Load(), "active": uint64(s.jobs.running()),
	}
}
