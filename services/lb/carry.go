package lb

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"helperd/services"
	"helperd/services/lb/engine"
	"helperd/services/lb/table"
)

// carryVersion is that of the format below. Gob leaves out what a version does not know.
const carryVersion = 1

// carryHead comes first. After it come the open connections, each an engine.Carried.
type carryHead struct {
	Version int
	Servers []carriedServer
}

// A carriedServer is what checks have found out, so that the next process need not
// begin with servers of which it knows nothing.
type carriedServer struct {
	Backend, Name string
	Address       netip.AddrPort
	State         table.State
	Since         time.Time
	WasUp         bool
	Fallback      bool
}

// legacy is what the process before left, until the first table is in force.
type legacy struct {
	table       *table.Table // nothing but servers with their states
	connections []engine.Carried
}

var _ services.Carrier = (*Service)(nil)

// Export implements services.Carrier.
func (s *Service) Export(w io.Writer) (fds []int, err error) {
	s.mu.Lock()
	t := s.table
	s.mu.Unlock()
	head := carryHead{Version: carryVersion}
	for _, g := range t.Groups {
		for i := range g.Members {
			m := &g.Members[i]
			st, since := m.State()
			head.Servers = append(head.Servers, carriedServer{g.Name, m.Name, m.Address, st, since, m.WasUp(), m.Fallback()})
		}
	}
	connections := s.engine.Export()
	for i := range connections {
		fds = append(fds, connections[i].FDs()...)
	}
	out := gob.NewEncoder(w)
	if err := out.Encode(head); err != nil {
		return fds, fmt.Errorf("write servers: %w", err)
	}
	for i := range connections {
		if err := out.Encode(&connections[i]); err != nil {
			return fds, fmt.Errorf("write connections: %w", err)
		}
	}
	return fds, nil
}

// Import implements services.Carrier. The connections go on after the first Commit.
func (s *Service) Import(r io.Reader) error {
	in := gob.NewDecoder(r)
	var head carryHead
	if err := in.Decode(&head); err != nil {
		return fmt.Errorf("read servers: %w", err)
	}
	if head.Version != carryVersion {
		return fmt.Errorf("connections are written in format %d, and this version reads %d", head.Version, carryVersion)
	}
	left := &legacy{table: &table.Table{}}
	for _, c := range head.Servers {
		server := &table.Server{Backend: c.Backend, Name: c.Name, Address: c.Address}
		server.Restore(c.State, c.Since, c.WasUp, c.Fallback)
		left.table.Groups = append(left.table.Groups, &table.Group{
			Backend: &table.Backend{Name: c.Backend}, Members: []table.Member{{Server: server}},
		})
	}
	for {
		var c engine.Carried
		err := in.Decode(&c)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read connections: %w", err)
		}
		left.connections = append(left.connections, c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.legacy = left
	return nil
}

// adopt makes what the process before left the engine's own. The caller holds mu.
func (s *Service) adopt() {
	if s.legacy == nil {
		return
	}
	s.host.Log.Info("connections of the process before go on", "connections", len(s.legacy.connections))
	s.engine.Import(s.legacy.connections)
	s.legacy = nil
}
