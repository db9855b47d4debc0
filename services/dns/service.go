package dns

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
	"helperd/services/dns/chain"
)

// maxSlow is how many questions may wait for the forwarders at once. Further ones are dropped.
const maxSlow = 2048

// Service is the name server.
type Service struct {
	host  services.Host
	state atomic.Pointer[state]
	slow  chan struct{} // holds one token for every question that waits for the forwarders
	tally tally
	conns atomic.Int64  // open TCP connections
	moved chan struct{} // signals Serve that state has changed

	mu sync.Mutex
	// retired are sockets of earlier states. Serve gives them back once their readers have ended.
	retired []*socket.Socket
}

var (
	_ services.Service = (*Service)(nil)
	_ services.Change  = (*change)(nil)
)

// New gives a name server that serves nothing yet.
func New(h services.Host) *Service {
	s := &Service{host: h, slow: make(chan struct{}, maxSlow), moved: make(chan struct{}, 1)}
	s.state.Store(newState())
	if err := h.Metrics.Register(&collector{s}); err != nil {
		h.Log.Error("metrics of the name server are not collected", "err", err)
	}
	return s
}

// Name implements services.Service.
func (s *Service) Name() string { return "dns" }

// change is a state that is prepared and not served yet.
type change struct {
	service *Service
	next    *state
}

// Prepare implements services.Service: zones are packed, sockets acquired and,
// when the forwarders have changed, a resolver chain started.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	next, err := s.compile(p)
	if err != nil {
		return nil, err
	}
	c := &change{s, next}
	if err := s.acquire(next); err != nil {
		c.Discard()
		return nil, err
	}
	return c, nil
}

func (s *Service) acquire(next *state) error {
	d := &next.plan
	for _, addr := range d.Listen {
		for _, k := range []struct {
			network string
			options socket.Options
		}{
			{"udp", socket.Options{Shards: readers(), Buffer: receiveBuffer}},
			{"tcp", socket.Options{}},
		} {
			sock, err := s.host.Sockets.Acquire(socket.Key{Network: k.network, Addr: addr}, k.options)
			if err != nil {
				return fmt.Errorf("dns: %w", err)
			}
			next.sockets = append(next.sockets, sock)
		}
	}
	if len(d.Forwarders) == 0 {
		return nil
	}
	if now := s.state.Load(); now.chain != nil && slices.Equal(now.plan.Forwarders, d.Forwarders) {
		now.chain.Retain()
		next.chain = now.chain
		return nil
	}
	var err error
	if next.chain, err = chain.Start(d.Forwarders); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	return nil
}

// Commit implements services.Change.
func (c *change) Commit() {
	s := c.service
	old := s.state.Swap(c.next)
	s.mu.Lock()
	s.retired = append(s.retired, old.sockets...)
	s.mu.Unlock()
	s.releaseChain(old)
	select {
	case s.moved <- struct{}{}:
	default: // Serve has not seen the last signal yet and will see both
	}
}

// Discard implements services.Change.
func (c *change) Discard() {
	for _, sock := range c.next.sockets {
		sock.Release()
	}
	c.next.sockets = nil
	c.service.releaseChain(c.next)
}

// releaseChain gives back st's reference to its chain. The last one waits for
// the questions under way, so it does not happen here.
func (s *Service) releaseChain(st *state) {
	if st.chain == nil {
		return
	}
	s.host.Guard.Go("dns resolver stop", func() {
		if err := st.chain.Release(); err != nil {
			s.host.Log.Warn("resolver chain did not stop cleanly", "err", err)
		}
	})
}

// Status implements services.Service.
func (s *Service) Status() services.Status {
	st := s.state.Load()
	if !st.plan.Enabled {
		return services.Status{State: services.Disabled, Counters: s.counters()}
	}
	out := services.Status{State: services.Up, Counters: s.counters()}
	for _, sock := range st.sockets {
		out.Listen(sock.Status())
	}
	if st.chain != nil {
		if n, reason := st.chain.Failing(); n >= 3 {
			out.Degrade(fmt.Sprintf("no forwarder answered the last %d questions (%s): check dns.forwarders %v", n, reason, st.plan.Forwarders))
		}
	}
	return out
}
