package dhcp6

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"helperd/internal/clock"
	"helperd/internal/netif"
	"helperd/plan"
	"helperd/services"
	"helperd/services/dhcp6/engine"
	"helperd/services/leasing"
	"helperd/state"
)

var _ services.Service = (*Service)(nil)

// Service is the DHCPv6 server.
type Service struct {
	host services.Host

	generation atomic.Pointer[generation]
	changed    chan struct{} // has an element after a Commit

	portsMu sync.Mutex
	ports   []*port

	mu     sync.Mutex     // whoever holds it is the engine's one writer
	engine *engine.Engine // nil until the stored leases are read
	clock  clock.Clock

	commits   commits
	strangers strangers

	overflow, unsent, transactions, failures atomic.Uint64
	metrics                                  *leasing.Metrics
	alarm                                    leasing.Alarm            // of Serve alone
	pools                                    atomic.Pointer[[]string] // what to say of pools that fill

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
	missing []string
}

// New gives a server that serves nothing until its first Commit and Serve.
func New(h services.Host) *Service {
	s := &Service{host: h, clock: clock.New(), changed: make(chan struct{}, 1)}
	s.commits.filled = make(chan struct{}, 1)
	s.strangers.known = map[netip.Addr]stranger{}
	s.unbindable.Store(new(string))
	s.pools.Store(new([]string))
	s.metrics = leasing.NewMetrics(h.Metrics, "dhcp6", s.totals)
	s.disk.Halt, s.disk.Tell = s.halt, s.tell
	return s
}

// Name implements services.Service.
func (s *Service) Name() string { return "dhcp6" }

// Prepare implements services.Service. An interface that is not there is no
// error: it is served as soon as it comes.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	list, err := netif.List()
	if err != nil {
		return nil, err
	}
	g, err := s.build(&p.DHCP6, list)
	if err != nil {
		return nil, err
	}
	return &change{s, g}, nil
}

// build makes the generation that serves d on these interfaces.
func (s *Service) build(d *plan.DHCP, list []netif.Interface) (*generation, error) {
	local, served := netif.Addrs(list), s.host.TimesServed(d)
	policy, err := engine.Compile(d.WithTime(served), local)
	if err != nil {
		return nil, err
	}
	g := &generation{source: d, local: local, time: served, policy: policy, enabled: d.Enabled}
	if err := s.bind(g, list); err != nil {
		return nil, err
	}
	return g, nil
}

// load reads the stored leases and the server's DUID once.
func (s *Service) load() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil {
		return nil
	}
	id, err := serverID(s.host.StateDir)
	if err != nil {
		return err
	}
	leases, err := s.host.Leases.Leases()
	if err != nil {
		return fmt.Errorf("read leases: %w", err)
	}
	s.engine = engine.New(id, leases)
	return nil
}

// change is a generation that is not served yet.
type change struct {
	s *Service
	g *generation
}

// Commit implements services.Change.
func (c *change) Commit() {
	if old := c.s.generation.Swap(c.g); old != nil {
		c.s.drop(old)
	}
	select {
	case c.s.changed <- struct{}{}:
	default:
	}
}

// Discard implements services.Change.
func (c *change) Discard() { c.s.drop(c.g) }

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
	running := map[*port]<-chan struct{}{}
	committed := s.host.Guard.Loop(ctx, "commit", s.commit)
	defer func() {
		cancel()
		for _, done := range running {
			<-done
		}
		<-committed
	}()
	pools := time.NewTicker(poolsEvery)
	defer pools.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.follow(ctx, running)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
		case <-pools.C:
			s.watchPools()
		case <-tick.C:
			s.rebind()
			s.disk.Watch(time.Now())
		}
	}
}

// follow starts readers for new ports and forgets those of closed ones.
func (s *Service) follow(ctx context.Context, running map[*port]<-chan struct{}) {
	g := s.generation.Load()
	if g == nil {
		return
	}
	for p := range g.links {
		if running[p] == nil {
			running[p] = s.host.Guard.Loop(ctx, "read "+p.device, func(ctx context.Context) error { return s.read(ctx, p) })
		}
	}
	for p, done := range running {
		if p.closed.Load() {
			<-done
			delete(running, p)
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
