package tftp

import (
	"context"
	"net/netip"
	"sync/atomic"

	"helperd/boot"
	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
)

// Service is the TFTP server.
type Service struct {
	host  services.Host
	state atomic.Pointer[state] // nil before the first Commit
	// changed tells Serve that state has other sockets than before.
	changed chan struct{}
	jobs    *jobs
	cache   *cache
	vendor  boot.Vendor // loaders inside ISOs
	count   counters
	// strangers is what may be told of clients that are no nodes.
	strangers ration
}

var _ services.Service = (*Service)(nil)

// New gives a server that serves nothing yet.
func New(h services.Host) *Service {
	s := &Service{host: h, changed: make(chan struct{}, 1), jobs: newJobs(), cache: newCache(cacheBudget)}
	s.describeMetrics()
	return s
}

// Name implements services.Service.
func (s *Service) Name() string { return "tftp" }

// state is one generation of what is served. It is immutable; a transfer keeps
// what it opened, whatever comes after.
type state struct {
	plan    *plan.Plan
	files   map[string]plan.File // kernels and initramfs by path
	boot    *boot.Resolver
	loaders map[plan.Loader]bool // that package boot looks for
	sockets []*socket.Socket
	mtu     int // the smallest that the file declares, in bytes
}

// ethernetMTU in bytes holds while no network declares another.
const ethernetMTU = 1500

// Prepare takes the sockets of p. Files are looked up when they are asked for,
// so that one that is missing now is served as soon as it is there.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	st := &state{plan: p, files: make(map[string]plan.File, len(p.TFTP.Files)), boot: boot.Files(p), loaders: knownLoaders()}
	for _, f := range p.TFTP.Files {
		st.files[f.Path] = f
	}
	if st.mtu = p.TFTP.MTU; st.mtu == 0 {
		st.mtu = ethernetMTU
	}
	if p.TFTP.Enabled {
		for _, addr := range p.TFTP.Listen {
			sock, err := s.host.Sockets.Acquire(socket.Key{Network: "udp", Addr: addr}, socket.Options{Buffer: 1 << 20})
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

// clientAddr is addr as the plan writes it.
func clientAddr(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
