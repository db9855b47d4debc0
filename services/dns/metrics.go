package dns

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// counters are those of one reader. They have their cache lines to themselves.
type counters struct {
	_       [64]byte
	fast    atomic.Uint64 // answered from the table
	slow    atomic.Uint64 // answered by the forwarders
	dropped atomic.Uint64 // not answered
	failed  atomic.Uint64 // answered, and the reply could not be sent
	rcodes  [16]atomic.Uint64
	_       [64]byte
}

// turnCount counts one batch, so that the shared counters are touched once.
type turnCount struct {
	fast, dropped, failed uint64
	rcodes                [16]uint64
}

func (t *turnCount) answered(reply []byte) {
	t.fast++
	t.rcodes[reply[3]&15]++
}

func (c *counters) add(t *turnCount) {
	for _, p := range [...]struct {
		to *atomic.Uint64
		n  uint64
	}{{&c.fast, t.fast}, {&c.dropped, t.dropped}, {&c.failed, t.failed}} {
		if p.n > 0 {
			p.to.Add(p.n)
		}
	}
	for i, n := range t.rcodes {
		if n > 0 {
			c.rcodes[i].Add(n)
		}
	}
}

// totals are sums of counters.
type totals struct {
	fast, slow, dropped, failed uint64
	rcodes                      [16]uint64
}

func (t *totals) add(c *counters) {
	t.fast += c.fast.Load()
	t.slow += c.slow.Load()
	t.dropped += c.dropped.Load()
	t.failed += c.failed.Load()
	for i := range c.rcodes {
		t.rcodes[i] += c.rcodes[i].Load()
	}
}

// tally knows the counters of all readers, and the sums of those that have ended.
type tally struct {
	mu    sync.Mutex
	live  map[*counters]struct{}
	ended totals
}

func (t *tally) open() *counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live == nil {
		t.live = map[*counters]struct{}{}
	}
	c := &counters{}
	t.live[c] = struct{}{}
	return c
}

// close keeps the sums of c. What a late answer adds is lost.
func (t *tally) close(c *counters) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, c)
	t.ended.add(c)
}

func (t *tally) sum() totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := t.ended
	for c := range t.live {
		sum.add(c)
	}
	return sum
}

// counters are the totals that status shows.
func (s *Service) counters() map[string]uint64 {
	t := s.tally.sum()
	return map[string]uint64{
		"queries":         t.fast + t.slow + t.dropped,
		"queries_fast":    t.fast,
		"queries_slow":    t.slow,
		"dropped":         t.dropped,
		"send_failed":     t.failed,
		"tcp_connections": uint64(max(0, s.conns.Load())),
	}
}

// collector gives the sums to Prometheus.
type collector struct{ service *Service }

var (
	queriesDesc   = prometheus.NewDesc("helperd_dns_queries_total", "Queries by the way they were answered: fast (from the table), slow (by forwarders), dropped.", []string{"path"}, nil)
	responsesDesc = prometheus.NewDesc("helperd_dns_responses_total", "Replies by response code, without its extension in the OPT record.", []string{"rcode"}, nil)
	failedDesc    = prometheus.NewDesc("helperd_dns_send_failures_total", "Replies that could not be sent.", nil, nil)
	streamsDesc   = prometheus.NewDesc("helperd_dns_tcp_connections", "Open TCP connections.", nil, nil)
	waitingDesc   = prometheus.NewDesc("helperd_dns_waiting_queries", "Queries that wait for the forwarders.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{queriesDesc, responsesDesc, failedDesc, streamsDesc, waitingDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	t := c.service.tally.sum()
	total := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	total(queriesDesc, t.fast, "fast")
	total(queriesDesc, t.slow, "slow")
	total(queriesDesc, t.dropped, "dropped")
	total(failedDesc, t.failed)
	for i, n := range t.rcodes {
		name, ok := dns.RcodeToString[i]
		if !ok {
			name = strconv.Itoa(i)
		}
		total(responsesDesc, n, name)
	}
	ch <- prometheus.MustNewConstMetric(streamsDesc, prometheus.GaugeValue, float64(c.service.conns.Load()))
	ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(len(c.service.slow)))
}
