package http

import (
	"context"
	"crypto/tls"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"helperd/boot"
	"helperd/ca"
	"helperd/internal/socket"
	"helperd/iso"
	"helperd/plan"
	"helperd/services"
)

// Service is the web server.
type Service struct {
	host  services.Host
	state atomic.Pointer[state] // nil before the first Commit
	// changed tells Serve that state has other sockets than before.
	changed   chan struct{}
	clients   *socket.Caps // connections
	count     counters
	downloads *downloads
	isos      iso.Library
	vendor    boot.Vendor // loaders inside ISOs
	tls       *tls.Config
	stall     time.Duration // in which a client must take something
	header    time.Duration // how long it may take for its header
}

var _ services.Service = (*Service)(nil)

const (
	stallAfter    = time.Minute // a client that takes less than minTake in it is cut
	headerTimeout = 10 * time.Second
)

// New gives a server that serves nothing yet.
func New(h services.Host) *Service {
	s := &Service{
		host: h, changed: make(chan struct{}, 1), clients: socket.NewCaps(maxConnections, maxStrangers, maxPerClient), downloads: openDownloads(h.StateDir),
		stall: stallAfter, header: headerTimeout,
	}
	s.tls = s.tlsConfig()
	s.describeMetrics()
	return s
}

// Name implements services.Service.
func (s *Service) Name() string { return "http" }

// state is one generation of what is served. It is immutable; a request keeps
// the one it began with.
type state struct {
	plan     *plan.Plan
	files    map[string]*plan.File     // artifacts by URL path
	ignition map[string]*plan.Ignition // by URL path
	nodes    map[netip.Addr]*plan.Node // by address
	boot     *boot.Resolver
	sockets  []*socket.Socket
	cache    cache

	secure      map[*socket.Socket]bool // TLS is spoken on it
	certificate *ca.Server              // nil: no TLS
	authority   []byte                  // PEM
	tlsProblem  error                   // why there is no TLS though the plan wants it
}

// Prepare takes the sockets of p. Files are looked up when they are asked for,
// so that one that is missing now is served as soon as it is there.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	st := &state{
		plan: p, files: map[string]*plan.File{}, ignition: map[string]*plan.Ignition{}, nodes: map[netip.Addr]*plan.Node{},
		boot: boot.Files(p), secure: map[*socket.Socket]bool{},
	}
	for i := range p.HTTP.Files {
		st.files[p.HTTP.Files[i].Path] = &p.HTTP.Files[i]
	}
	for i := range p.HTTP.Ignition {
		st.ignition[p.HTTP.Ignition[i].Path] = &p.HTTP.Ignition[i]
	}
	for _, n := range p.Nodes {
		for _, a := range []netip.Addr{n.IP, n.IP6} {
			if a.IsValid() {
				st.nodes[a] = n
			}
		}
	}
	if err := s.listen(st); err != nil {
		st.release()
		return nil, err
	}
	return &change{s, st}, nil
}

// listen takes the sockets of st's plan. Without a certificate there is no HTTPS, and all else goes on.
func (s *Service) listen(st *state) error {
	h := &st.plan.HTTP
	if !h.Enabled {
		return nil
	}
	addrs := h.Listen
	if s.certify(st); st.certificate != nil {
		addrs = slices.Concat(addrs, h.TLS.Listen)
	}
	for i, addr := range addrs {
		sock, err := s.host.Sockets.Acquire(socket.Key{Network: "tcp", Addr: addr}, socket.Options{})
		if err != nil {
			return err
		}
		st.sockets = append(st.sockets, sock)
		st.secure[sock] = i >= len(h.Listen)
	}
	return nil
}

func (st *state) release() {
	for _, sock := range st.sockets {
		sock.Release()
	}
}

// known reports whether a is the address of a node or of the helper itself.
func (st *state) known(a netip.Addr) bool {
	return st.nodes[a] != nil || a == st.plan.Helper.Address || a == st.plan.Helper.Address6
}

// machine reports whether a may have what is for machines: a node, an address
// of the machine networks, or the helper itself.
func (st *state) machine(a netip.Addr) bool {
	if st.known(a) {
		return true
	}
	for _, n := range st.plan.HTTP.Machines {
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
