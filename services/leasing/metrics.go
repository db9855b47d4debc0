package leasing

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Totals are what a server has counted, and how its pools are. The keys of the
// maps are of small fixed sets.
type Totals struct {
	Received map[string]uint64 // messages by type
	Sent     map[string]uint64
	Refused  map[string]uint64 // machines that got no address, by reason
	Dropped  map[string]uint64 // messages that were not worked on or not sent, by reason
	Probes   map[string]uint64 // pool addresses by what came of the probe for who has them; nil: the server does not probe
	Uses     []Use
	// DiskFails is set while leases cannot be stored.
	DiskFails bool
}

// Metrics are those of one server. Without a registry they go nowhere.
type Metrics struct {
	gather   func() Totals
	commits  *prometheus.CounterVec
	leases   prometheus.Counter
	duration prometheus.Histogram

	messages, refusals, drops, probes, addresses, size, free, disk *prometheus.Desc
}

// NewMetrics registers the metrics of a service, such as "dhcp".
func NewMetrics(r prometheus.Registerer, service string, gather func() Totals) *Metrics {
	name := func(s string) string { return prometheus.BuildFQName("helperd", service, s) }
	desc := func(s, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name(s), help, labels, nil)
	}
	m := &Metrics{
		gather:    gather,
		messages:  desc("messages_total", "Messages by direction (in, out) and type.", "direction", "type"),
		refusals:  desc("refusals_total", "Requests of machines that got no address, by reason.", "reason"),
		drops:     desc("drops_total", "Messages that were not worked on or could not be sent, by reason.", "reason"),
		probes:    desc("probes_total", "Pool addresses that somebody without a lease has (conflict), or that were offered unprobed.", "outcome"),
		addresses: desc("addresses", "Addresses of a network that are leased, offered, declined (in quarantine) or reserved.", "network", "state"),
		size:      desc("pool_size_addresses", "Addresses of the pool of a network.", "network"),
		free:      desc("pool_free_addresses", "Addresses of the pool of a network that a new machine can get.", "network"),
		disk:      desc("disk_failing", "1 while pool leases cannot be stored, and none are given."),
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("commits_total"), Help: "Groups of leases that were written to disk at once, by outcome (ok, failed).",
		}, []string{"outcome"}),
		leases: prometheus.NewCounter(prometheus.CounterOpts{Name: name("committed_leases_total"), Help: "Leases that were written to disk."}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name("commit_duration_seconds"), Help: "Time that writing a group of leases to disk took.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	for _, outcome := range []string{"ok", "failed"} {
		m.commits.WithLabelValues(outcome)
	}
	if r != nil {
		r.MustRegister(m, m.commits, m.leases, m.duration)
	}
	return m
}

// Committed notes a group of leases that was written, or was not.
func (m *Metrics) Committed(leases int, took time.Duration, err error) {
	m.duration.Observe(took.Seconds())
	if err != nil {
		m.commits.WithLabelValues("failed").Inc()
		return
	}
	m.commits.WithLabelValues("ok").Inc()
	m.leases.Add(float64(leases))
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.messages, m.refusals, m.drops, m.probes, m.addresses, m.size, m.free, m.disk} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	t := m.gather()
	counts := func(d *prometheus.Desc, by map[string]uint64, labels ...string) {
		for key, n := range by {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append(labels[:len(labels):len(labels)], key)...)
		}
	}
	counts(m.messages, t.Received, "in")
	counts(m.messages, t.Sent, "out")
	counts(m.refusals, t.Refused)
	counts(m.drops, t.Dropped)
	counts(m.probes, t.Probes)
	fails := 0.0
	if t.DiskFails {
		fails = 1
	}
	ch <- prometheus.MustNewConstMetric(m.disk, prometheus.GaugeValue, fails)
	for i := range t.Uses {
		u := &t.Uses[i]
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{u.Network.String()}, labels...)...)
		}
		for state, n := range map[string]int{"leased": u.Leased, "offered": u.Offered, "declined": u.Declined, "reserved": u.Reserved} {
			gauge(m.addresses, float64(n), state)
		}
		gauge(m.size, u.Size)
		gauge(m.free, u.Free())
	}
}
