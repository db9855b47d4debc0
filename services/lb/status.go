package lb

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

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
	for _, g := range s.table.Groups {
		if p := lost(g); p != "" {
			st.Degrade(p)
		}
	}
	st.Counters = s.counters()
	return st
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
			fallback = fallback || st == table.Unready && m.Fallback()
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
	more := ""
	if len(why) > shown {
		why, more = why[:shown], fmt.Sprintf(" and %d more", len(why)-shown)
	}
	list := strings.Join(why, ", ") + more
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

// Overview is what `helperd lb` shows.
type Overview struct {
	MaxConnections int64            `json:"max_connections"` // may be lower than configured: see the limit of open files
	Active         int64            `json:"active"`
	Frontends      []FrontendStatus `json:"frontends"`
	Backends       []BackendStatus  `json:"backends"`
}

// FrontendStatus is what people see of a frontend.
type FrontendStatus struct {
	Name    string           `json:"name"`
	Listen  []netip.AddrPort `json:"listen"`
	Backend string           `json:"backend,omitempty"` // by default
	Routes  []string         `json:"routes,omitempty"`  // backends that are chosen by name or node
	Active  int64            `json:"active"`
	Total   uint64           `json:"total"`
	Refused uint64           `json:"refused"`  // clients that are not allowed
	TooFast uint64           `json:"too_fast"` // clients above the rate
	Unnamed uint64           `json:"unnamed"`  // connections that asked for no cluster's name and came from no node
	BadHead uint64           `json:"bad_head"` // connections without the PROXY header that accept_proxy demands
	// Stray is the last connection that was turned away.
	Stray *StrayStatus `json:"last_turned_away,omitempty"`
}

// BackendStatus is what people see of a backend.
type BackendStatus struct {
	Name     string         `json:"name"`
	Balance  string         `json:"balance"`
	Check    string         `json:"check"`
	Retries  uint64         `json:"retries"`   // tries after a failed one, at the same server or another
	NoServer uint64         `json:"no_server"` // connections closed because no server took them
	Servers  []ServerStatus `json:"servers"`
}

// ServerStatus is what people see of a server.
type ServerStatus struct {
	Name    string         `json:"name"`
	Node    string         `json:"node,omitempty"`
	Address netip.AddrPort `json:"address"`
	State   string         `json:"state"`
	Since   time.Time      `json:"since,omitzero"`
	Backup  bool           `json:"backup,omitempty"`
	Weight  int            `json:"weight"`
	// Fallback: takes connections although it is unready, because no server is up.
	Fallback bool          `json:"fallback,omitempty"`
	Last     *table.Result `json:"last_check,omitempty"`
	Active   int64         `json:"active"`
	Total    uint64        `json:"total"`
	Failed   uint64        `json:"failed"` // connections that could not be made
	BytesIn  uint64        `json:"bytes_in"`
	BytesOut uint64        `json:"bytes_out"`
}

// Table shows frontends, backends and servers as they are now.
func (s *Service) Table() Overview {
	s.mu.Lock()
	t, strays := s.table, maps.Clone(s.lastStrays)
	s.mu.Unlock()
	o := Overview{MaxConnections: t.MaxConnections, Active: s.engine.Active(), Frontends: []FrontendStatus{}, Backends: []BackendStatus{}}
	for _, f := range t.Frontends {
		o.Frontends = append(o.Frontends, FrontendStatus{
			Name: f.Config.Name, Listen: f.Config.Listen, Backend: f.Config.Backend, Routes: f.Config.RoutedTo(),
			Active: f.Counters.Active.Load(), Total: f.Counters.Total.Load(), Refused: f.Counters.Refused.Load(),
			TooFast: f.Counters.TooFast.Load(), Unnamed: f.Counters.Unnamed.Load(), BadHead: f.Counters.BadHead.Load(), Stray: strays[f.Config.Name],
		})
	}
	for _, g := range t.Groups {
		b := BackendStatus{
			Name: g.Name, Balance: string(g.Config.Balance), Check: string(g.Config.Check.Type),
			Retries: g.Retries.Load() + g.Redispatches.Load(), NoServer: g.NoneUp.Load(), Servers: []ServerStatus{},
		}
		for i := range g.Members {
			b.Servers = append(b.Servers, serverStatus(&g.Members[i]))
		}
		o.Backends = append(o.Backends, b)
	}
	return o
}

func serverStatus(m *table.Member) ServerStatus {
	state, since := m.State()
	if state == table.Starting {
		since = time.Time{}
	}
	return ServerStatus{
		Name: m.Name, Node: m.Config.Node, Address: m.Address, State: state.String(), Since: since,
		Backup: m.Config.Backup, Weight: m.Config.Weight, Fallback: state == table.Unready && m.Fallback(), Last: m.Last(),
		Active: m.Active.Load(), Total: m.Total.Load(), Failed: m.Failed.Load(),
		BytesIn: m.BytesIn.Load(), BytesOut: m.BytesOut.Load(),
	}
}
