package lb

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// idleTime is how long tunnels are idle, and whether memory is judged.
func idleTime(t *testing.T) (d time.Duration, full bool) {
	t.Helper()
	text := os.Getenv("HELPERD_IDLE")
	if text == "" {
		return 6 * time.Second, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("HELPERD_IDLE=%q, want a duration", text)
	}
	return d, true
}

// reloadEvery is the time between changes of the file.
const reloadEvery = 3 * time.Second

// cluster is a file with a balancer of so many servers, and a cluster of so many workers.
func (l *lab) cluster(servers, workers int) string {
	var b strings.Builder
	b.WriteString("clusters:\n  - name: bench\n    domain: example.com\n    nodes:\n")
	for i := range 3 {
		fmt.Fprintf(&b, "      - {name: master-%d, role: master, ip: 192.0.2.%d}\n", i, 200+i)
	}
	for i := range workers {
		fmt.Fprintf(&b, "      - {name: worker-%d, role: worker, ip: 192.0.2.%d}\n", i, 210+i)
	}
	return b.String() + l.balancer(servers)
}

// TestIdle: tunnels that say nothing live through reloads that add and remove a
// worker and a server, cost a fifth of HAProxy's memory, and carry bytes at the end.
func TestIdle(t *testing.T) {
	last, full := idleTime(t)
	l := newLab(t)
	n := l.idle(t, full)
	daemon := l.helperd(t)
	addr := l.Start(t, daemon)
	l.Apply(t, addr, l.cluster(servers, 3))
	peer := l.memory(t, l.Start(t, l.haproxy(t, 2)), n, nil)
	ours := l.memory(t, addr, n, func(idle *clients) error { return l.reloads(t, addr, idle, last) })
	t.Logf("%d idle tunnels: %.0f bytes each, HAProxy %.0f: %.2fx", n, ours, peer, ours/peer)
	if full && ours > peer/5 {
		t.Errorf("a tunnel costs %.0f bytes, want at most a fifth of HAProxy's %.0f", ours, peer)
	}
}

// memory is the growth of the balancer at addr by each of n tunnels, which are handed to use.
func (l *lab) memory(t *testing.T, addr netip.Addr, n int, use func(*clients) error) (each float64) {
	t.Helper()
	before := l.Memory(t, addr)
	err := l.with(addr, n, func(c *clients) error {
		if err := c.tunnels(many); err != nil {
			return err
		}
		_ = c.rest(func() error { time.Sleep(time.Second); return nil })
		each = float64(l.Memory(t, addr)-before) / float64(n)
		if use != nil {
			if err := c.rest(func() error { return use(c) }); err != nil {
				return err
			}
		}
		return c.check(many)
	})
	if err != nil {
		t.Fatalf("%s: %v", addr, err)
	}
	return each
}

// reloads changes the file of helperd at addr again and again. Tunnels to the server
// that is removed are among those that must live on.
func (l *lab) reloads(t *testing.T, addr netip.Addr, idle *clients, last time.Duration) error {
	l.Apply(t, addr, l.cluster(servers+1, 4))
	return l.with(addr, many, func(late *clients) error {
		if err := late.tunnels(many); err != nil {
			return err
		}
		n := 0
		err := late.rest(func() error {
			for end := time.Now().Add(last); time.Now().Before(end) || n < 2; n++ {
				l.Apply(t, addr, l.cluster(servers+n%2, 3+n%2))
				if err := l.with(addr, many, func(c *clients) error { return c.tunnels(many) }); err != nil {
					return fmt.Errorf("new tunnels: %w", err)
				}
				time.Sleep(reloadEvery)
				for _, c := range []*clients{idle, late} {
					if err := c.quiet(); err != nil {
						return fmt.Errorf("after %d reloads: %w", n+1, err)
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		t.Logf("%d tunnels live after %d reloads in %v", len(idle.slots)+many, n+1, last)
		return late.check(many)
	})
}
