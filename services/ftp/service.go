package ftp

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"helperd/boot"
	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
)

// Service is the FTP server.
type Service struct {
	host  services.Host
	state atomic.Pointer[state] // nil before the first Commit
	// changed tells Serve that state has other sockets than before.
	changed chan struct{}
	clients *socket.Caps // sessions
	pending *socket.Caps // passive ports that wait for their client
	vendor  boot.Vendor  // loaders inside ISOs
	count   counters

	mu       sync.Mutex
	sessions map[*session]struct{}
	ended    bool // Serve has returned: no session begins

	stall time.Duration // how long a client may take nothing
	idle  time.Duration // and say nothing
	login time.Duration // and not be logged in
	claim time.Duration // and leave its passive port alone
}

var _ services.Service = (*Service)(nil)

// Caps on sessions.
const (
	maxSessions  = 256
	maxPerClient = 16
)

// New gives a server that serves nothing yet.
func New(h services.Host) *Service {
	s := &Service{
		host: h, changed: make(chan struct{}, 1), sessions: map[*session]struct{}{},
		clients: socket.NewCaps(maxSessions, maxSessions, maxPerClient), pending: socket.NewCaps(maxSessions, maxSessions, maxPending),
		stall: time.Minute, idle: 2 * time.Minute, login: 30 * time.Second, claim: 30 * time.Second,
	}
	s.describeMetrics()
	return s
}

// Name implements services.Service.
func (s *Service) Name() string { return "ftp" }

// state is one generation of what is served. It is immutable. A session sees
// each new one, a transfer keeps what it opened.
type state struct {
	plan    *plan.Plan
	files   map[string]*plan.File // artifacts by path
	folders map[string][]string   // what is in the folders that artifacts and loaders are in
	boot    *boot.Resolver
	nodes   map[netip.Addr]*plan.Node
	sockets []*socket.Socket
}

// Prepare takes the sockets of p. Files are looked up when they are asked for,
// so that one that is missing now is served as soon as it is there.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	st := &state{plan: p, files: map[string]*plan.File{}, boot: boot.Files(p), nodes: map[netip.Addr]*plan.Node{}}
	for i := range p.FTP.Files {
		st.files[p.FTP.Files[i].Path] = &p.FTP.Files[i]
	}
	st.folders = folders(p.FTP.Files)
	for _, n := range p.Nodes {
		for _, a := range []netip.Addr{n.IP, n.IP6} {
			if a.IsValid() {
				st.nodes[a] = n
			}
		}
	}
	if p.FTP.Enabled {
		for _, addr := range p.FTP.Listen {
			sock, err := s.host.Sockets.Acquire(socket.Key{Network: "tcp", Addr: addr}, socket.Options{})
			if err != nil {
				st.release()
				return nil, err
			}
			st.sockets = append(st.sockets, sock)
		}
	}
	return &change{s, st}, nil
}

func (st *state) release() {
	for _, sock := range st.sockets {
		sock.Release()
	}
}

// machine reports whether a is served: a node, an address of the machine
// networks, or this machine itself.
func (st *state) machine(a netip.Addr) bool {
	if st.nodes[a] != nil || a == st.plan.Helper.Address || a == st.plan.Helper.Address6 || a.IsLoopback() {
		return true
	}
	for _, n := range st.plan.FTP.Machines {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

type change struct {
	service *Service
	state   *state
}

// Commit implements services.Change.
func (c *change) Commit() {
	old := c.service.state.Swap(c.state)
	select {
	case c.service.changed <- struct{}{}:
	default: // Serve is told already
	}
	if old != nil {
		old.release()
	}
}

// Discard implements services.Change.
func (c *change) Discard() { c.state.release() }
