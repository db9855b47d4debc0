// Package services is the contract that every protocol server of the helper
// node fulfils, and nothing else.
package services

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"helperd/artifacts"
	"helperd/ca"
	"helperd/internal/guard"
	"helperd/internal/socket"
	"helperd/nodes"
	"helperd/plan"
	"helperd/state"
	"helperd/timeline"
)

// A Service is one protocol server of the helper node.
type Service interface {
	// Name is the word used in the configuration, logs and metrics, such as "dns".
	Name() string

	// Prepare builds all that p asks for (zones compiled, files opened,
	// sockets bound) and changes nothing that is served. All that can fail, fails here.
	Prepare(ctx context.Context, p *plan.Plan) (Change, error)

	// Serve does the background work until ctx ends. The supervisor restarts
	// it if it returns early. Packets are served between the first Commit and
	// the end of Serve.
	Serve(ctx context.Context) error

	// Check asks the running service a question over the wire, as a node
	// would. A service that is disabled or whose socket is still held by
	// another process returns nil: its Status says so.
	Check(ctx context.Context) error

	// Status says what people see of the service.
	Status() Status
}

// A Carrier is a Service whose connections can outlive the process, in the
// program that takes its place by execve.
type Carrier interface {
	// Export ends the work on all connections without closing them and writes them
	// to w. It comes shortly before the end of Serve, and gives the descriptors that are to stay open.
	Export(w io.Writer) (fds []int, err error)

	// Import takes over what Export of the process before has written. It comes
	// before the first Prepare. After an error the descriptors are the caller's to close.
	Import(r io.Reader) error
}

// A Change is prepared and not yet visible.
type Change interface {
	Commit()  // a pointer swap: cannot fail, cannot block
	Discard() // releases what Prepare took
}

// Status is what people see of a service.
type Status struct {
	// State is up, degraded (Problem says why), or disabled.
	State     State           `json:"state"`
	Listeners []socket.Status `json:"listeners,omitempty"`
	// Problem is what keeps the service from its work and what to do about it, one a line.
	Problem string `json:"problem,omitempty"`
	// Notes are what people may have forgotten and is no problem, such as a server that they drained.
	Notes []string `json:"notes,omitempty"`
	// Counters are totals since the start, such as queries.
	Counters map[string]uint64 `json:"counters,omitempty"`
}

// Degrade adds a problem.
func (s *Status) Degrade(problem string) {
	if s.Problem != "" {
		s.Problem += "\n"
	}
	s.State, s.Problem = Degraded, s.Problem+problem
}

// Listen adds a listener, and a problem when another process holds its port.
func (s *Status) Listen(l socket.Status) {
	s.Listeners = append(s.Listeners, l)
	if l.Bound {
		return
	}
	where := l.Network + " " + l.Address
	if l.Device != "" {
		where += " on " + l.Device
	}
	s.Degrade(where + " is held by " + cmp.Or(l.Holder, "another process") + "; stop that one, and helperd takes the port at once")
}

// State of a service.
type State string

// The states.
const (
	Up       State = "up"
	Degraded State = "degraded"
	Disabled State = "disabled"
)

// Host is what the daemon gives to a service.
type Host struct {
	Log     *slog.Logger
	Guard   *guard.Group // starts every goroutine
	Fuse    *guard.Fuse  // checked once a packet or batch in every handler
	Sockets *socket.Table
	Events  *timeline.Timeline
	Nodes   *nodes.Registry
	// Artifacts says where the files are that nodes boot.
	Artifacts *artifacts.Store
	// CA signs certificates of the helper's own servers.
	CA *ca.Authority
	// StateDir is the folder for files that survive a restart; empty: none are kept.
	StateDir string
	Store    *state.Store
	Leases   state.LeaseStore // of DHCP
	Metrics  prometheus.Registerer
	// TimeServed reports whether somebody, be it this process or another one of this
	// machine, answers NTP at an address of plan.NTP.Given. Nil: nobody does.
	TimeServed func(netip.AddrPort) bool
}

// TimesServed says of each subnet of d whether its time server answers now.
func (h *Host) TimesServed(d *plan.DHCP) []bool {
	out := make([]bool, len(d.Subnets))
	for i, n := range d.Subnets {
		out[i] = n.Time.IsValid() && h.TimeServed != nil && h.TimeServed(n.Time)
	}
	return out
}
