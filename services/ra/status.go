package ra

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"helperd/internal/socket"
	"helperd/services"
)

// Status implements services.Service.
func (s *Service) Status() services.Status {
	g := s.generation.Load()
	s.mu.Lock()
	links, missing := s.links, s.missing
	s.mu.Unlock()
	if g == nil || len(g.ra.Networks) == 0 && len(links) == 0 {
		return services.Status{State: services.Disabled}
	}
	st := services.Status{State: services.Up, Counters: s.counters()}
	for _, problem := range missing {
		st.Degrade(problem)
	}
	for _, l := range links {
		l.status(&st, time.Now())
	}
	return st
}

// status adds what is to be said of the link.
func (l *link) status(st *services.Status, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st.Listen(socket.Status{Network: "icmp6", Address: l.addr.String(), Device: l.name, Bound: true})
	if l.expect.empty() {
		st.Notes = append(st.Notes, fmt.Sprintf("advertisements on %s end: machines are being told", l.name))
		return
	}
	if l.expect.gateway && !forwards(l.name) {
		st.Degrade(fmt.Sprintf("this machine is the gateway on %s and forwards no IPv6 packets; switch it on: sysctl -w net.ipv6.conf.all.forwarding=1", l.name))
	}
	if l.left > 0 {
		st.Degrade(fmt.Sprintf("the advertisement on %s has no room for %d of its options; write fewer dns, routes or networks for this link", l.name, l.left))
	}
	l.forget(now)
	for _, r := range l.routers {
		if wrong := r.wrong(&l.expect); len(wrong) > 0 {
			st.Degrade(l.describe(r, wrong) + "; stop it, or make it agree")
		} else {
			st.Notes = append(st.Notes, l.describe(r, nil))
		}
	}
}

// forwards reports whether the kernel passes packets on that come in by an interface.
func forwards(device string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + device + "/forwarding")
	return err != nil || strings.TrimSpace(string(b)) != "0" // who cannot know says nothing
}

// counters are totals since the start.
type counters struct {
	multicast, unicast, unsent, asked, checks, solicitations, foreign, invalid atomic.Uint64
}

func (s *Service) counters() map[string]uint64 {
	c := &s.count
	return map[string]uint64{
		"multicast": c.multicast.Load(), "unicast": c.unicast.Load(), "unsent": c.unsent.Load(), "asked": c.asked.Load(),
		"solicitations": c.solicitations.Load(), "foreign": c.foreign.Load(), "invalid": c.invalid.Load(),
	}
}

// totals gives the counters to Prometheus.
type totals struct {
	s    *Service
	desc *prometheus.Desc
}

func (s *Service) register(r prometheus.Registerer) {
	if r != nil {
		r.MustRegister(&totals{s, prometheus.NewDesc("helperd_ra_messages_total", "Messages by kind: advertisements sent to all and to one, solicitations, and what others sent.", []string{"kind"}, nil)})
	}
}

// Describe implements prometheus.Collector.
func (t *totals) Describe(ch chan<- *prometheus.Desc) { ch <- t.desc }

// Collect implements prometheus.Collector.
func (t *totals) Collect(ch chan<- prometheus.Metric) {
	for kind, n := range t.s.counters() {
		ch <- prometheus.MustNewConstMetric(t.desc, prometheus.CounterValue, float64(n), kind)
	}
}
