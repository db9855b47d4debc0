package lb

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"helperd/services/lb/engine"
	"helperd/services/lb/runtimeapi"
	"helperd/services/lb/stats"
	"helperd/services/lb/table"
)

// controls are what the runtime API shows and changes of a balancer.
type controls struct{ *Service }

var _ runtimeapi.Balancer = controls{}

// Current implements runtimeapi.Balancer.
func (c controls) Current() *table.Table {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table
}

// Totals implements runtimeapi.Balancer.
func (c controls) Totals() runtimeapi.Totals {
	_, out := c.engine.Bytes()
	c.mu.Lock()
	limit := c.ceiling
	c.mu.Unlock()
	return runtimeapi.Totals{
		Started: c.started, Workers: Workers(), Limit: limit, Active: c.engine.Active(), Connections: c.engine.Connections.Load(), BytesOut: out,
	}
}

// Sessions implements runtimeapi.Balancer.
func (c controls) Sessions() []engine.Session { return c.engine.Sessions() }

// Shutdown implements runtimeapi.Balancer.
func (c controls) Shutdown(id uint64) bool {
	done := c.engine.Shutdown(id)
	if done {
		c.host.Log.Info("connection cut by the runtime API", "session", id)
	}
	return done
}

// ShutdownServer implements runtimeapi.Balancer.
func (c controls) ShutdownServer(s *table.Server) int {
	n := c.engine.ShutdownServer(s)
	c.host.Log.Info("connections cut by the runtime API", "server", s.Backend+"/"+s.Name, "connections", n)
	return n
}

// Pause implements runtimeapi.Balancer.
func (c controls) Pause(frontend string) {
	c.engine.Pause(frontend)
	c.host.Log.Warn("frontend paused by the runtime API: clients wait until it is enabled again", "frontend", frontend)
}

// Resume implements runtimeapi.Balancer.
func (c controls) Resume(frontend string) {
	c.engine.Resume(frontend)
	c.host.Log.Info("frontend enabled by the runtime API", "frontend", frontend)
}

// Paused implements runtimeapi.Balancer.
func (c controls) Paused(frontend string) bool { return c.engine.Held(frontend) }

// SetChecking implements runtimeapi.Balancer.
func (c controls) SetChecking(backend, server string, on bool) error {
	return c.change(backend, server, "checks", on, func(_ *table.Group, m *table.Member) error {
		m.SetWatched(on)
		c.watch()
		return nil
	})
}

// SetHealth implements runtimeapi.Balancer. The server's checker begins anew from the
// new state, so that it takes as many checks as ever to leave it.
func (c controls) SetHealth(backend, server string, up bool) error {
	state := table.Unready
	if up {
		state = table.Up
	}
	return c.change(backend, server, "state", state.String(), func(g *table.Group, m *table.Member) error {
		if m.Admin() == table.Maint {
			return fmt.Errorf("server %s/%s is in maintenance: its health is not known before it is ready and checked", backend, server)
		}
		watched := m.Watched()
		m.SetWatched(false)
		c.watch()
		m.Set(state, time.Now())
		m.SetWatched(watched)
		c.watch()
		g.Update(time.Now())
		return nil
	})
}

// watch begins and ends checks. The caller holds mu.
func (c controls) watch() {
	if c.serving != nil {
		c.monitor.Apply(c.serving, c.table)
	}
}

// SetLimit implements runtimeapi.Balancer.
func (c controls) SetLimit(backend, server string, n int64) error {
	return c.change(backend, server, "max_connections", n, func(g *table.Group, m *table.Member) error {
		m.Server.SetLimit(n)
		g.Update(time.Now()) // and those that wait look again
		return nil
	})
}

// SetFrontendLimit implements runtimeapi.Balancer.
func (c controls) SetFrontendLimit(frontend string, n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.table.Frontends {
		if f.Config.Name == frontend {
			f.Counters.SetLimit(n)
			c.engine.Swap(c.table) // a frontend that was full may have room
			c.host.Log.Info("frontend changed by the runtime API", "frontend", frontend, "max_connections", n)
			return nil
		}
	}
	return fmt.Errorf("%w frontend %q", ErrUnknown, frontend)
}

// SetTotalLimit implements runtimeapi.Balancer.
func (c controls) SetTotalLimit(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > c.ceiling {
		return fmt.Errorf("%d is more than the %d of the configuration", n, c.ceiling)
	}
	c.wanted = n
	if n == 0 {
		n = c.ceiling
	}
	c.table = c.table.WithLimit(n)
	c.engine.Swap(c.table)
	c.host.Log.Info("balancer changed by the runtime API", "max_connections", n)
	return nil
}

// change does what the runtime API wants of a server.
func (c controls) change(backend, server, what string, value any, do func(*table.Group, *table.Member) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, m := c.table.Find(backend, server)
	if m == nil {
		return fmt.Errorf("%w server %s/%s", ErrUnknown, backend, server)
	}
	if err := do(g, m); err != nil {
		return err
	}
	c.host.Log.Info("server changed by the runtime API", "server", backend+"/"+server, what, value)
	return nil
}

// Stats are the rows of HAProxy's statistics, for people.
func (s *Service) Stats() []stats.Stat {
	var all []stats.Stat
	for _, r := range s.stats.Rows(controls{s}.Current(), time.Now()) {
		all = append(all, r.Stat())
	}
	return all
}

// WriteStats writes HAProxy's statistics as CSV.
func (s *Service) WriteStats(out io.Writer) error {
	w := bufio.NewWriter(out)
	stats.WriteCSV(w, s.stats.Rows(controls{s}.Current(), time.Now()))
	return w.Flush()
}
