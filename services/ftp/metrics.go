package ftp

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are totals since the start.
type counters struct {
	sessions, refused    atomic.Uint64
	done, failed, misses atomic.Uint64
	bytes                atomic.Uint64
}

func (s *Service) describeMetrics() {
	if s.host.Metrics == nil {
		return
	}
	for _, m := range []struct {
		name, help string
		c          *atomic.Uint64
	}{
		{"helperd_ftp_sessions_total", "Connections that were served.", &s.count.sessions},
		{"helperd_ftp_refused_total", "Connections that were refused.", &s.count.refused},
		{"helperd_ftp_downloads_total", "Files that were sent.", &s.count.done},
		{"helperd_ftp_failed_downloads_total", "Downloads that broke off.", &s.count.failed},
		{"helperd_ftp_misses_total", "Requests for files that are not there.", &s.count.misses},
		{"helperd_ftp_sent_bytes_total", "Bytes of files that were sent.", &s.count.bytes},
	} {
		s.host.Metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.name, Help: m.help},
			func() float64 { return float64(m.c.Load()) }))
	}
	s.host.Metrics.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "helperd_ftp_open_sessions", Help: "Sessions that are open."}, func() float64 { return float64(s.clients.Open()) },
	))
}

// counts are the counters as status shows them.
func (s *Service) counts() map[string]uint64 {
	return map[string]uint64{
		"sessions": s.count.sessions.Load(), "refused": s.count.refused.Load(), "downloads": s.count.done.Load(), "failed": s.count.failed.Load(),
		"misses": s.count.misses.Load(), "bytes": s.count.bytes.Load(), "open": uint64(s.clients.Open()),
	}
}
