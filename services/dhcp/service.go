package dhcp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"helperd/internal/clock"
	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
	"helperd/services/dhcp/engine"
	"helperd/services/leasing"
	"helperd/state"
)

var _ services.Service = (*Service)(nil)

// Service is the DHCPv4 server.
type Service struct {
	host services.Host

	generation atomic.Pointer[generation]
	changed    chan struct{} // has an element after a Commit
	moved      chan struct{} // has one after an interface or address changed

	portsMu sync.Mutex
	ports   []*port

	mu     sync.Mutex     // whoever holds it is the engine's one writer
	engine *engine.Engine // nil until the stored leases are read
	clock  clock.Clock
	xid    uint32 // of this process's probes

	commits commits
	probes  probes // guarded by mu
	answers sync.Pool

	lost                                                atomic.Uint64 // requests that no reader had room for
	malformed, overflow, unsent, transactions, failures atomic.Uint64
	metrics                                             *leasing.Metrics
	alarm                                               leasing.Alarm            // of Serve alone
	pools                                               atomic.Pointer[[]string] // what to say of pools that fill

	disk       state.Health
	unbindable atomic.Pointer[string] // why an interface that came cannot be served; empty: all is well
}

// generation is what is served from one Commit to the next. The sockets that
// it needs may change meanwhile, when interfaces come and go.
type generation struct {
	enabled bool
	source  *plan.DHCP
	local   []netip.Addr // this machine's addresses; nobody is given them
	time    []bool       // of each subnet of source: its Time is given out
	policy  *engine.Policy
	links   map[*port][]*engine.Subnet
	proxies []*socket.Socket // port 4011, while a network has mode proxy
	missing []string
	stale   bool // an interface was made anew, and the sockets of the former are closed only now
}

func (g *generation) awaits() bool { return g != nil && g.stale }

// New gives a server that serves nothing until its first Commit and Serve.
func New(h services.Host) *Service {
	s := &Service{host: h, clock: clock.New(), xid: rand.Uint32(), changed: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
	s.commits.filled = make(chan struct{}, 1)
	s.probes = newProbes()
	s.answers.New = func() any { return new(answer) }
	s.unbindable.Store(new(string))
	s.pools.Store(new([]string))
	s.metrics = leasing.NewMetrics(h.Metrics, "dhcp", s.totals)
	s.disk.Halt, s.disk.Tell = s.halt, s.tell
	return s
}

// Name implements services.Service.
func (s *Service) Name() string { return "dhcp" }

// Prepare implements services.Service. An interface that is not there is no
// error: it is served as soon as it comes.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	list, err := interfaces()
	if err != nil {
		return nil, err
	}
	g, err := s.build(&p.DHCP, list)
	if err != nil {
		return nil, err
	}
	return &change{s, g}, nil
}

// build makes the generation that serves d on these interfaces.
func (s *Service) build(d *plan.DHCP, list []iface) (*generation, error) {
	local, served := localAddrs(list), s.host.TimesServed(d)
	policy, err := engine.Compile(d.WithTime(served), local)
	if err != nil {
		return nil, err
	}
	g := &generation{source: d, local: local, time: served, policy: policy, enabled: d.Enabled && len(policy.Subnets()) > 0}
	if err := s.bind(g, list); err != nil {
		return nil, err
	}
	return g, nil
}

// load reads the stored leases once.
func (s *Service) load() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil {
		return nil
	}
	leases, err := s.host.Leases.Leases()
	if err != nil {
		return fmt.Errorf("read leases: %w", err)
	}
	s.engine = engine.New(leases)
	s.engine.ProbeConflicts()
	return nil
}

// change is a generation that is not served yet.
type change struct {
	s *Service
	g *generation
}

// Commit implements services.Change.
func (c *change) Commit() { c.s.replace(c.g) }

// Discard implements services.Change.
func (c *change) Discard() { c.s.drop(c.g) }

// replace makes g what is served and lets the sockets of the former generation go.
func (s *Service) replace(g *generation) {
	old := s.generation.Swap(g)
	if old != nil {
		s.drop(old)
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// adopt hands a new generation's policy to the engine and gives the links to
// serve. The caller holds s.mu.
func (s *Service) adopt() map[*port][]*engine.Subnet {
	g := s.generation.Load()
	if g == nil {
		return nil
	}
	if s.engine.Policy() != g.policy {
		s.engine.Adopt(g.policy, s.unix())
	}
	return g.links
}

// Serve implements services.Service.
func (s *Service) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	running := readers{}
	committed := s.host.Guard.Loop(ctx, "commit", s.commit)
	probed := s.host.Guard.Loop(ctx, "conflict probes", s.probeConflicts)
	watched := s.host.Guard.Loop(ctx, "watch interfaces", s.watchLinks)
	proxies := socket.NewReaders(s.host.Guard, "read port 4011", s.readProxy)
	defer func() {
		cancel()
		proxies.Stop()
		<-watched
		for p := range running {
			running.wait(p)
		}
		<-committed
		<-probed
	}()
	pools := time.NewTicker(poolsEvery)
	defer pools.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	soon := false
	for {
		s.follow(ctx, running, proxies)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
		case <-s.moved:
			if !soon {
				soon = true
				tick.Reset(settle)
			}
		case <-pools.C:
			s.watchPools()
		case <-tick.C:
			soon = false
			tick.Reset(lookEvery)
			if s.rebind(); s.generation.Load().awaits() {
				s.rebind()
			}
			s.follow(ctx, running, proxies)
			s.look(time.Now())
			s.countLost(time.Now())
			s.disk.Watch(time.Now())
		}
	}
}

// readers are the ports that are being read, each with the ends of its goroutines.
type readers map[*port][3]<-chan struct{}

// wait returns when nobody reads p any more.
func (r readers) wait(p *port) {
	for _, done := range r[p] {
		<-done
	}
	delete(r, p)
}

// follow starts readers for new ports and forgets those of closed ones.
func (s *Service) follow(ctx context.Context, running readers, proxies *socket.Readers) {
	g := s.generation.Load()
	if g == nil {
		return
	}
	proxies.Follow(ctx, g.proxies)
	for p := range g.links {
		if _, ok := running[p]; ok {
			continue
		}
		running[p] = [3]<-chan struct{}{
			s.host.Guard.Loop(ctx, "read "+p.device, func(ctx context.Context) error { return s.read(ctx, p) }),
			s.host.Guard.Loop(ctx, "listen "+p.device, func(ctx context.Context) error { return s.listen(ctx, p) }),
			s.host.Guard.Loop(ctx, "conflicts "+p.device, func(ctx context.Context) error { return s.hearARP(ctx, p) }),
		}
	}
	for p := range running {
		if p.closed.Load() {
			running.wait(p)
		}
	}
}

// Leases are the pool addresses in use, ordered by address. Reservations are not among them.
func (s *Service) Leases() []state.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == nil {
		return nil
	}
	return s.engine.Leases(s.unix())
}
