package table

// SetLimit gives the server another limit of connections than that of the file; 0: that of
// the file again. Those that wait for room are to be told.
func (s *Server) SetLimit(n int64) { s.limit.Store(n) }

// Limit is how many connections m may have; 0: no limit.
func (m *Member) Limit() int64 {
	if n := m.limit.Load(); n > 0 {
		return n
	}
	return int64(m.Config.MaxConnections)
}

// SetLimit gives the frontend another limit of connections than that of the file; 0: that
// of the file again. The workers are to be told.
func (c *Counters) SetLimit(n int64) { c.limit.Store(n) }

// WithLimit is a table like t that allows another number of connections.
func (t *Table) WithLimit(n int64) *Table {
	next := *t
	next.MaxConnections = n
	return &next
}

// SetWatched says whether the checks of the server decide on its state, or are
// suspended. The monitor is to be told.
func (s *Server) SetWatched(on bool) { s.ignored.Store(!on) }

// Watched reports whether checks decide on the state of the server.
func (s *Server) Watched() bool { return !s.ignored.Load() }
