package http

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are totals since the start.
type counters struct {
	requests, bytes         atomic.Uint64
	misses, refused, failed atomic.Uint64
	ignition                atomic.Uint64
}

func (s *Service) describeMetrics() {
	if s.host.Metrics == nil {
		return
	}
	for _, m := range []struct {
		name, help string
		c          *atomic.Uint64
	}{
		{"helperd_http_requests_total", "Requests that were answered.", &s.count.requests},
		{"helperd_http_sent_bytes_total", "Bytes of bodies that were sent.", &s.count.bytes},
		{"helperd_http_misses_total", "Requests for files that are not there.", &s.count.misses},
		{"helperd_http_refused_total", "Ignition requests and connections that were refused.", &s.count.refused},
		{"helperd_http_failed_downloads_total", "Downloads that broke off.", &s.count.failed},
		{"helperd_http_ignition_files_total", "Ignition files that were sent whole.", &s.count.ignition},
	} {
		s.host.Metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.name, Help: m.help},
			func() float64 { return float64(m.c.Load()) }))
	}
	s.host.Metrics.MustRegister(prometheus.NewCounterFunc(
		prometheus.CounterOpts{Name: "helperd_http_unlogged_requests_total", Help: "Requests that are not in the download log: too many a second, or the disk too slow."},
		func() float64 { return float64(s.downloads.unlogged()) },
	))
	s.host.Metrics.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "helperd_http_ignition_expiry_timestamp_seconds", Help: "When the first certificate of an ignition file ends; 0: none does."}, s.expiry,
	))
	s.host.Metrics.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "helperd_http_open_connections", Help: "Connections that are open."}, func() float64 { return float64(s.clients.Open()) },
	))
}

// counts are the counters as status shows them.
func (s *Service) counts() map[string]uint64 {
	return map[string]uint64{
		"requests": s.count.requests.Load(), "bytes": s.count.bytes.Load(), "misses": s.count.misses.Load(), "refused": s.count.refused.Load(),
		"failed": s.count.failed.Load(), "ignition": s.count.ignition.Load(), "connections": uint64(s.clients.Open()),
	}
}

// expiry is when the first ignition file is not fit to be served any more, in Unix seconds.
func (s *Service) expiry() float64 {
	st, first := s.state.Load(), time.Time{}
	if st == nil {
		return 0
	}
	for i := range st.plan.HTTP.Ignition {
		if end := s.host.Nodes.Ignition.Ends(st.plan.HTTP.Ignition[i].File); !end.IsZero() && (first.IsZero() || end.Before(first)) {
			first = end
		}
	}
	if first.IsZero() {
		return 0
	}
	return float64(first.Unix())
}
