package ra

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/netif"
	"helperd/plan"
	"helperd/services"
)

var (
	_ services.Service = (*Service)(nil)
	_ services.Carrier = (*Service)(nil)
)

// Service sends router advertisements.
type Service struct {
	host       services.Host
	generation atomic.Pointer[generation]        // nil before the first Commit
	changed    chan struct{}                     // has an element after a Commit
	addrs      atomic.Pointer[[]netif.Interface] // of this machine, when it was looked last
	count      counters
	carried    atomic.Bool // another program is about to take the place of this one

	mu      sync.Mutex
	links   []*link
	missing []string
}

// generation is what is advertised from one Commit to the next.
type generation struct {
	ra    *plan.RA
	known []netip.Prefix // all IPv6 networks of the file
}

// New gives a service that sends nothing until its first Commit and Serve.
func New(h services.Host) *Service {
	s := &Service{host: h, changed: make(chan struct{}, 1)}
	s.addrs.Store(new([]netif.Interface))
	s.register(h.Metrics)
	return s
}

// Name implements services.Service.
func (s *Service) Name() string { return "ra" }

// Prepare implements services.Service. Interfaces come and go without a reload,
// so sockets are opened by Serve; what can be known before is whether they may be.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	g := &generation{ra: &p.RA}
	for _, n := range p.Networks {
		if n.Prefix.Addr().Is6() {
			g.known = append(g.known, n.Prefix)
		}
	}
	if len(g.ra.Networks) > 0 {
		if err := permitted(); err != nil {
			return nil, err
		}
	}
	return &change{s, g}, nil
}

// permitted opens and closes a socket of the kind that links have.
func permitted() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("socket for router advertisements: %w: they need CAP_NET_RAW; start helperd by its systemd unit or as root", err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("socket for router advertisements: %w: this kernel runs without IPv6; remove ra from the networks, or boot without ipv6.disable=1", err)
	case err != nil:
		return fmt.Errorf("socket for router advertisements: %w", err)
	}
	return unix.Close(fd)
}

// change is a generation that is not advertised yet.
type change struct {
	s *Service
	g *generation
}

// Commit implements services.Change.
func (c *change) Commit() {
	c.s.generation.Store(c.g)
	select {
	case c.s.changed <- struct{}{}:
	default:
	}
}

// Discard implements services.Change.
func (c *change) Discard() {}

// Serve implements services.Service. When ctx ends every link says so.
func (s *Service) Serve(ctx context.Context) error {
	within, cancel := context.WithCancel(context.WithoutCancel(ctx)) // close says first how the links end
	defer func() { s.close(cancel, ctx.Err() == nil || s.carried.Load()) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last *generation
	for {
		last = s.follow(within, last)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
		case <-tick.C:
		}
	}
}

// Export implements services.Carrier. The program that takes the place of this one is the
// same router within moments: nothing is said, so that no machine loses its default route.
func (s *Service) Export(io.Writer) ([]int, error) {
	s.carried.Store(true)
	return nil, nil
}

// Import implements services.Carrier. A router begins with three advertisements whoever was there before.
func (s *Service) Import(io.Reader) error { return nil }

// close ends all links; mute: the router goes on after a moment.
func (s *Service) close(cancel context.CancelFunc, mute bool) {
	s.mu.Lock()
	links := s.links
	s.links = nil
	s.mu.Unlock()
	for _, l := range links {
		l.mute.Store(l.mute.Load() || mute)
	}
	cancel() // all say goodbye at once
	for _, l := range links {
		l.end()
	}
}

// follow brings the links in line with the configuration and the interfaces.
// last is the generation that they were in line with before.
func (s *Service) follow(ctx context.Context, last *generation) *generation {
	g := s.generation.Load()
	if g == nil || len(g.ra.Networks) == 0 && len(s.running()) == 0 {
		return g
	}
	list, err := netif.List()
	if err != nil {
		return last // the next second tries again
	}
	s.addrs.Store(&list)
	places, missing := resolve(g.ra, list)
	now := time.Now()
	var links []*link
	for _, l := range s.running() {
		if i := l.still(list); i == nil {
			l.mute.Store(true)
			l.end()
		} else {
			l.update(g.expect(at(places, i), i), i, g != last, now)
			links = append(links, l)
		}
	}
	for _, at := range places {
		if slices.ContainsFunc(links, func(l *link) bool { return l.index == at.Index }) {
			continue
		}
		c, addr, err := open(at.Interface)
		if err != nil {
			missing = append(missing, waits(at.Interface, err))
			continue
		}
		s.host.Log.Info("advertising", "interface", at.Name, "address", addr)
		l := newLink(s, at.Interface, addr, c)
		l.update(g.expect(at.networks, at.Interface), at.Interface, true, now)
		links = append(links, l)
		l.start(ctx)
	}
	links = slices.DeleteFunc(links, func(l *link) bool {
		if l.finished() {
			l.mute.Store(true)
			l.end()
			return true
		}
		l.look(now)
		return false
	})
	s.mu.Lock()
	s.links, s.missing = links, missing
	s.mu.Unlock()
	return g
}

// running are the links.
func (s *Service) running() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links
}

// waits says why i cannot be advertised on.
func waits(i *netif.Interface, err error) string {
	if text := i.Lacks6(); text != "" {
		return text
	}
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Sprintf("the link-local address of interface %s is not ready; if that lasts, another machine has the same one: ip -6 address show dev %s", i.Name, i.Name)
	}
	return fmt.Sprintf("interface %s: %v; it is tried again every second", i.Name, err)
}

// at gives the networks that are advertised on i.
func at(places []place, i *netif.Interface) []*plan.Advertisement {
	for _, p := range places {
		if p.Index == i.Index {
			return p.networks
		}
	}
	return nil
}

// expect is what the file says of the link of i, which is in these networks.
func (g *generation) expect(networks []*plan.Advertisement, i *netif.Interface) expectation {
	e := expectation{content: combine(networks, i), known: g.known}
	for _, n := range networks {
		if n.Gateway.IsValid() {
			e.gateways = append(e.gateways, n.Gateway)
		}
	}
	return e
}

// still gives the interface of the link if it is as it was, else nil.
func (l *link) still(list []netif.Interface) *netif.Interface {
	for k := range list {
		if i := &list[k]; i.Index == l.index && i.Name == l.name && i.Up && i.Holds(l.addr) {
			return i
		}
	}
	return nil
}

// own reports whether m is of this machine. Link-local addresses are unique on
// their links only, so the MAC has to be one of this machine too, if it is told.
func (s *Service) own(m *message) bool {
	addr, mac := false, m.mac.IsZero()
	for _, i := range *s.addrs.Load() {
		addr = addr || i.Holds(m.from)
		mac = mac || i.MAC == m.mac
	}
	return addr && mac
}
