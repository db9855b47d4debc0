package artifacts

import "github.com/prometheus/client_golang/prometheus"

type counters struct {
	bytes    prometheus.Counter
	failures prometheus.Counter
}

func (s *Store) describeMetrics() {
	s.count = counters{
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "helperd_artifacts_downloaded_bytes_total", Help: "Bytes of artifacts that were downloaded."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "helperd_artifacts_failures_total", Help: "Attempts to fetch or verify an artifact that failed."}),
	}
	missing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "helperd_artifacts_missing_files", Help: "Files that nodes boot and that are not on this machine, or not verified."}, func() float64 {
		n := 0
		for _, r := range s.Rows() {
			if r.Pending() {
				n++
			}
		}
		return float64(n)
	})
	s.opt.Metrics.MustRegister(s.count.bytes, s.count.failures, missing)
}
