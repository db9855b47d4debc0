package dhcp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"helperd/plan"
	"helperd/services"
	"helperd/services/dhcp/engine"
	"helperd/state"
)

var _ services.Service = (*Service)(nil)

// Service is the DHCPv4 server.
type Service struct {
	host services.Host
	now  func() time.Time

	generation atomic.Pointer[generation]
	changed    chan struct{} // has an element after a Commit

	portsMu sync.Mutex
	ports   []*port

	mu     sync.Mutex     // whoever holds it is the engine's one writer
	engine *engine.Engine // nil until the stored leases are read

	commits commits
	answers sync.Pool

	malformed, overflow, unsent, transactions, failures atomic.Uint64
	// Why the last transaction failed, and why an interface that came cannot be served; empty: all is well.
	unstorable, unbindable atomic.Pointer[string]
}

// generation is what is served from one Commit to the next. The sockets that
// it needs may change meanwhile, when interfaces come and go.
type generation struct {
	enabled bool
	policy  *engine.Policy
	links   map[*port][]*engine.Subnet
	missing []string
}

// New gives a server that serves nothing until its first Commit and Serve.
func New(h services.Host) *Service {
	s := &Service{host: h, now: time.Now, changed: make(chan struct{}, 1)}
	s.commits.filled = make(chan struct{}, 1)
	s.answers.New = func() any { return new(answer) }
	s.unstorable.Store(new(string))
	s.unbindable.Store(new(string))
	s.register(h.Metrics)
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
	policy, err := engine.Compile(&p.DHCP, localAddrs(list))
	if err != nil {
		return nil, err
	}
	g, err := s.bind(policy, list)
	if err != nil {
		return nil, err
	}
	g.enabled = p.DHCP.Enabled && len(policy.Subnets()) > 0
	return &change{s, g}, nil
}

// load reads the stored leases once.
func (s *Service) load() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil {
		return nil
	}
	leases, err := s.host.Store.Leases()
	if err != nil {
		return fmt.Errorf("read leases: %w", err)
	}
	s.engine = engine.New(leases)
	return nil
}

// bind takes the sockets that policy needs on these interfaces.
func (s *Service) bind(policy *engine.Policy, list []iface) (*generation, error) {
	places, missing := resolve(policy, list)
	g := &generation{policy: policy, links: map[*port][]*engine.Subnet{}, missing: missing}
	for _, at := range places {
		p, err := s.acquire(at)
		switch {
		case errors.Is(err, errStale):
			g.missing = append(g.missing, "interface "+at.device+" is a new one; its sockets are opened again in a second")
		case errors.Is(err, unix.ENODEV):
			g.missing = append(g.missing, "interface "+at.device+" went away; it is served as soon as it comes up")
		case err != nil:
			s.drop(g)
			return nil, err
		default:
			g.links[p] = at.subnets
		}
	}
	return g, nil
}

// drop releases the sockets of g.
func (s *Service) drop(g *generation) {
	for p := range g.links {
		s.release(p)
	}
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
		s.engine.Adopt(g.policy, s.now().Unix())
	}
	return g.links
}

// Serve implements services.Service.
func (s *Service) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	running := readers{}
	committed := s.host.Guard.Loop(ctx, "commit", s.commit)
	defer func() {
		cancel()
		for p := range running {
			running.wait(p)
		}
		<-committed
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.follow(ctx, running)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
		case <-tick.C:
			s.rebind()
		}
	}
}

// readers are the ports that are being read, each with the ends of its two goroutines.
type readers map[*port][2]<-chan struct{}

// wait returns when nobody reads p any more.
func (r readers) wait(p *port) {
	for _, done := range r[p] {
		<-done
	}
	delete(r, p)
}

// follow starts readers for new ports and forgets those of closed ones.
func (s *Service) follow(ctx context.Context, running readers) {
	g := s.generation.Load()
	if g == nil {
		return
	}
	for p := range g.links {
		if _, ok := running[p]; ok {
			continue
		}
		running[p] = [2]<-chan struct{}{
			s.host.Guard.Loop(ctx, "read "+p.device, func(ctx context.Context) error { return s.read(ctx, p) }),
			s.host.Guard.Loop(ctx, "listen "+p.device, func(ctx context.Context) error { return s.listen(ctx, p) }),
		}
	}
	for p := range running {
		if p.closed.Load() {
			running.wait(p)
		}
	}
}

// rebind takes the sockets of interfaces that came, and lets go those of interfaces that went.
func (s *Service) rebind() {
	old := s.generation.Load()
	if old == nil || !old.enabled {
		return
	}
	list, err := interfaces()
	if err != nil {
		return // the next second tries again
	}
	places, missing := resolve(old.policy, list)
	if old.fits(places, missing) {
		return
	}
	g, err := s.bind(old.policy, list)
	if err != nil {
		if text := err.Error(); *s.unbindable.Swap(&text) != text {
			s.host.Log.Error("interface not served; trying again every second", "err", err)
		}
		return
	}
	s.unbindable.Store(new(string))
	g.enabled = true
	if s.generation.CompareAndSwap(old, g) {
		s.drop(old)
		s.host.Log.Info("interfaces changed", "served", len(g.links), "missing", len(g.missing))
		return
	}
	s.drop(g) // a Commit came in between
}

// fits reports whether g serves exactly these places.
func (g *generation) fits(places []place, missing []string) bool {
	if len(places) != len(g.links) || len(missing) != len(g.missing) {
		return false
	}
	for _, at := range places {
		found := false
		for p, subnets := range g.links {
			found = found || p.device == at.device && p.index == at.index && len(subnets) == len(at.subnets)
		}
		if !found {
			return false
		}
	}
	return true
}

// Leases are the pool addresses in use, ordered by address. Reservations are not among them.
func (s *Service) Leases() []state.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == nil {
		return nil
	}
	return s.engine.Leases(s.now().Unix())
}
