package lb

import (
	"maps"
	"net/netip"
	"time"

	"helperd/services/lb/table"
)

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
	Paused  bool             `json:"paused,omitempty"`  // by the runtime API: clients wait
	Active  int64            `json:"active"`
	Total   uint64           `json:"total"`
	Refused uint64           `json:"refused"`  // clients that are not allowed
	TooFast uint64           `json:"too_fast"` // clients above the rate
	Unnamed uint64           `json:"unnamed"`  // connections that asked for no cluster's name and came from no node
	AtLimit uint64           `json:"at_limit"` // times that accepting stopped at the frontend's limit
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
	Queued   int64          `json:"queued"`    // connections that wait for a server with room
	MaxQueue int64          `json:"max_queue"` // most at a time
	Down     bool           `json:"down"`      // no server takes connections
	Falls    uint64         `json:"falls"`     // times that the last server was lost
	Downtime time.Duration  `json:"downtime_ns"`
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
	// Admin is what the administrator wants: ready, drain or maint.
	Admin  table.Admin `json:"admin"`
	Weight int         `json:"weight"` // in force
	// Suspended: its checks are, by the runtime API, and its state stays as it is.
	Suspended bool `json:"checks_suspended,omitempty"`
	// Fallback: takes connections although it is unready, because no server is up.
	Fallback bool          `json:"fallback,omitempty"`
	Last     *table.Result `json:"last_check,omitempty"`
	// History are the last 16 checks, the oldest first.
	History      []table.Result `json:"history"`
	ChecksFailed uint64         `json:"checks_failed"`
	Falls        uint64         `json:"falls"`       // times that it was up and is not any more
	Downtime     time.Duration  `json:"downtime_ns"` // since the start; maintenance included
	Active       int64          `json:"active"`
	Total        uint64         `json:"total"`
	Failed       uint64         `json:"failed"`       // connections that could not be made, after all tries
	Redispatches uint64         `json:"redispatches"` // those that went to another server after this one failed
	BytesIn      uint64         `json:"bytes_in"`
	BytesOut     uint64         `json:"bytes_out"`
}

// Now is the state with what the administrator wants, in a few words.
func (s *ServerStatus) Now() string {
	if s.Admin == table.Maint { // nobody checks how it is
		return s.Admin.String()
	}
	now := s.State
	if s.Suspended {
		now += ", checks suspended"
	}
	switch {
	case s.Admin == table.Drain:
		return now + ", " + s.Admin.String()
	case s.Weight == 0:
		return now + ", weight 0"
	}
	return now
}

// Table shows frontends, backends and servers as they are now.
func (s *Service) Table() Overview {
	s.mu.Lock()
	t, strays := s.table, maps.Clone(s.lastStrays)
	s.mu.Unlock()
	o := Overview{MaxConnections: t.MaxConnections, Active: s.engine.Active(), Frontends: []FrontendStatus{}, Backends: []BackendStatus{}}
	for _, f := range t.Frontends {
		o.Frontends = append(o.Frontends, FrontendStatus{
			Name: f.Config.Name, Listen: f.Config.Listen, Backend: f.Config.Backend, Routes: f.Config.RoutedTo(), Paused: s.engine.Held(f.Config.Name),
			Active: f.Counters.Active.Load(), Total: f.Counters.Total.Load(), Refused: f.Counters.Refused.Load(),
			TooFast: f.Counters.TooFast.Load(), Unnamed: f.Counters.Unnamed.Load(), BadHead: f.Counters.BadHead.Load(), AtLimit: f.Counters.AtLimit.Load(), Stray: strays[f.Config.Name],
		})
	}
	now := time.Now()
	for _, g := range t.Groups {
		b := BackendStatus{
			Name: g.Name, Balance: string(g.Config.Balance), Check: string(g.Config.Check.Type),
			Retries: g.Retries.Load() + g.Redispatches.Load(), NoServer: g.NoneUp.Load(),
			Queued: g.Queued.Load(), MaxQueue: g.MaxQueue.Load(),
			Down: g.DownSince.Load() != 0, Falls: g.Falls.Load(), Downtime: g.Downtime(now), Servers: []ServerStatus{},
		}
		for i := range g.Members {
			b.Servers = append(b.Servers, serverStatus(g, &g.Members[i], now))
		}
		o.Backends = append(o.Backends, b)
	}
	return o
}

func serverStatus(g *table.Group, m *table.Member, now time.Time) ServerStatus {
	state, since := m.State()
	if state == table.Starting && m.Admin() != table.Maint {
		since = time.Time{}
	}
	return ServerStatus{
		Name: m.Name, Node: m.Config.Node, Address: m.Address, State: state.String(), Since: since,
		Backup: m.Config.Backup, Admin: m.Admin(), Weight: m.Weight(), Suspended: suspended(g, m), Fallback: g.FallsBack(m), Last: m.Last(),
		History: m.History(), ChecksFailed: m.ChecksFailed.Load(), Falls: m.Falls.Load(), Downtime: m.Downtime(now),
		Active: m.Active.Load(), Total: m.Total.Load(), Failed: m.Failed.Load(), Redispatches: m.Redispatches.Load(),
		BytesIn: m.BytesIn.Load(), BytesOut: m.BytesOut.Load(),
	}
}

// suspended reports whether somebody keeps m from its checks.
func suspended(g *table.Group, m *table.Member) bool { return g.Checked(m) && !m.Watched() }
