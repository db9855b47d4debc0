package runtimeapi

import (
	"time"

	"helperd/services/lb/engine"
	"helperd/services/lb/table"
)

// A Balancer is what the runtime API shows and changes. All of it may be called at any time.
type Balancer interface {
	// Current is the table in force.
	Current() *table.Table
	Totals() Totals
	// Sessions are the open connections.
	Sessions() []engine.Session
	// Shutdown cuts a connection; false when there is none of this ID.
	Shutdown(id uint64) bool
	// ShutdownServer cuts the connections of a server and gives their number.
	ShutdownServer(s *table.Server) int
	// Pause makes the workers accept no connections of a frontend until Resume: clients wait.
	Pause(frontend string)
	Resume(frontend string)
	Paused(frontend string) bool
	// SetAdmin and SetWeight change what a person wants of a server; weight -1 is that of the file.
	SetAdmin(backend, server string, a table.Admin) error
	SetWeight(backend, server string, weight int) error
	// SetChecking suspends the checks of a server, or takes them up again.
	SetChecking(backend, server string, on bool) error
	// SetHealth makes a server up or unready until its checks say otherwise.
	SetHealth(backend, server string, up bool) error
	// SetLimit limits the connections of a server, SetFrontendLimit those of a frontend and
	// SetTotalLimit all; 0 is the limit of the file.
	SetLimit(backend, server string, n int64) error
	SetFrontendLimit(frontend string, n int64) error
	SetTotalLimit(n int64) error
}

// Totals are those of the balancer since its start.
type Totals struct {
	Started     time.Time
	Workers     int
	Limit       int64  // of connections, by the file and the open files that this process may have
	Active      int64  // open connections
	Connections uint64 // accepted
	BytesOut    uint64 // to clients
}
