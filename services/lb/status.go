package lb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"helperd/services"
	"helperd/services/lb/table"
)

// Status says which addresses are listened on and how much was balanced.
func (s *Service) Status() services.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := services.Status{State: services.Up}
	if !s.enabled {
		st.State = services.Disabled
		return st
	}
	for _, a := range s.addresses() {
		st.Listen(s.listeners[a].socket.Status())
	}
	for _, f := range s.table.Frontends {
		if s.engine.Held(f.Config.Name) {
			st.Degrade(fmt.Sprintf("frontend %s is paused by the runtime API and its clients wait: write `enable frontend %s` there", f.Config.Name, f.Config.Name))
		}
	}
	for _, g := range s.table.Groups {
		if p := lost(g); p != "" {
			st.Degrade(p)
		}
	}
	for _, note := range []string{s.ordered(), s.suspensions()} {
		if note != "" {
			st.Notes = append(st.Notes, note)
		}
	}
	st.Counters = s.counters()
	return st
}

// suspensions reminds of the checks that are suspended; empty: none. The caller holds mu.
func (s *Service) suspensions() string {
	var list []string
	for _, g := range s.table.Groups {
		for i := range g.Members {
			if m := &g.Members[i]; suspended(g, m) {
				list = append(list, keyOf(m).String())
			}
		}
	}
	if list == nil {
		return ""
	}
	return "checks are suspended by the runtime API: " + some(list) + "; `enable health BACKEND/SERVER` there takes them up again"
}

// lost says what ails the servers of a backend that had one and has none now. A
// backend that never had one waits for its installation: that is no problem,
// unless a person keeps it from a server that is up.
func lost(g *table.Group) string {
	var why, ordered []string
	had, fallback, down := false, false, false
	for i := range g.Members {
		m := &g.Members[i]
		if m.Takes() {
			return ""
		}
		st, _ := m.State()
		had = had || m.WasUp()
		wish := wished(m, st)
		if wish != "" {
			ordered = append(ordered, m.Name)
		} else {
			down = down || m.WasUp() && st != table.Retired
			fallback = fallback || g.FallsBack(m)
		}
		switch last := m.Last(); {
		case wish != "":
			why = append(why, m.Name+": "+wish)
		case st == table.Up:
			why = append(why, m.Name+": weight 0")
		case last != nil:
			why = append(why, m.Name+": "+last.Detail)
		}
	}
	if !had && ordered == nil {
		return ""
	}
	result := "new connections are closed"
	if fallback {
		result = "those that still answer on the fallback path get the connections"
	}
	list := some(why)
	switch {
	case ordered == nil:
		return fmt.Sprintf("backend %s has no server left that is up (%s), %s: look at these servers", g.Name, list, result)
	case down:
		return fmt.Sprintf("backend %s has no server left that is up and may be used (%s), %s: look at these servers, or write `helperd lb ready %s/%s`", g.Name, list, result, g.Name, ordered[0])
	}
	return fmt.Sprintf("backend %s has no server only because the administrator wants so (%s), %s: write `helperd lb ready %s/%s`", g.Name, list, result, g.Name, ordered[0])
}

// wished says what a person wants of a server that could take connections
// otherwise, as far as is known; empty: nothing that keeps it from them.
func wished(m *table.Member, st table.State) string {
	switch {
	case m.Admin() == table.Maint, m.Admin() == table.Drain && st == table.Up:
		return m.Admin().String()
	case st == table.Up && m.Weight() == 0 && m.Config.Weight > 0:
		return "weight 0 by the administrator"
	}
	return ""
}

// shown is how many servers a problem lists.
const shown = 5

// some lists the first servers, and says how many there are more.
func some(list []string) string {
	if len(list) > shown {
		return strings.Join(list[:shown], ", ") + fmt.Sprintf(" and %d more", len(list)-shown)
	}
	return strings.Join(list, ", ")
}

// addresses are those that are asked for, in order. The caller holds mu.
func (s *Service) addresses() []netip.AddrPort {
	var out []netip.AddrPort
	for a := range s.listeners {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out
}

// counters are totals since the start: they do not fall when a server leaves the file.
func (s *Service) counters() map[string]uint64 {
	e := s.engine
	in, out := e.Bytes()
	return map[string]uint64{
		"connections": e.Connections.Load(),
		"active":      uint64(max(0, e.Active())),
		"timeouts":    e.Timeouts.Load(),
		"at_limit":    e.AtLimit.Load(),
		"refused":     e.Refused.Load(),
		"too_fast":    e.TooFast.Load(),
		"unnamed":     e.Unnamed.Load(),
		"bad_head":    e.BadHead.Load(),
		"retries":     e.Retries.Load(),
		"no_server":   e.NoServer.Load(),
		"bytes_in":    in,
		"bytes_out":   out,
	}
}
