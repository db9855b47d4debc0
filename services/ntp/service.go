package ntp

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
	"helperd/services/ntp/clock"
	"helperd/services/ntp/packet"
)

var _ services.Service = (*Service)(nil)

// Service is the time server.
type Service struct {
	host  services.Host
	state atomic.Pointer[state] // nil before the first Commit
	// changed tells Serve that state has other sockets than before.
	changed chan struct{}
	// news tells watch the same: who is told of a time server now is asked after now.
	news   chan struct{}
	clock  Clock
	kept   atomic.Pointer[clock.State]
	header atomic.Pointer[packet.Header] // of all answers, as kept says
	// served are the addresses of plan.NTP.Given where somebody answers.
	served    atomic.Pointer[map[netip.AddrPort]bool]
	precision int8
	begun     time.Time // its monotonic clock is that of the limits
	count     counters
	others    time.Duration // between questions to another server of this machine
}

// Clock tells how well the clock of this machine is kept.
type Clock interface {
	Read(ctx context.Context) (clock.State, error)
}

// New gives a server that serves nothing yet, from the clock of this machine.
func New(h services.Host) *Service { return newService(h, clock.NewHost()) }

func newService(h services.Host, c Clock) *Service {
	s := &Service{host: h, clock: c, changed: make(chan struct{}, 1), news: make(chan struct{}, 1), precision: clock.Precision(), begun: time.Now(), others: othersEvery}
	s.served.Store(&map[netip.AddrPort]bool{})
	s.kept.Store(&clock.State{})
	s.describeMetrics()
	return s
}

// Name implements services.Service.
func (s *Service) Name() string { return "ntp" }

// state is one generation of what is served. It is immutable.
type state struct {
	plan     *plan.NTP
	machines []netip.Prefix
	own      map[netip.Addr]bool // of this machine: what it asks itself is not counted
	sockets  []*socket.Socket
}

// receiveBuffer in bytes holds what comes in while a reader waits for the processor.
const receiveBuffer = 1 << 20

// Prepare implements services.Service.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	st := &state{plan: &p.NTP, machines: p.NTP.Machines, own: map[netip.Addr]bool{}}
	for _, a := range p.Helper.Addresses() {
		st.own[a] = true
	}
	for _, addr := range p.NTP.Listen {
		if !p.NTP.Enabled {
			break
		}
		sock, err := s.host.Sockets.Acquire(socket.Key{Network: "udp", Addr: addr}, socket.Options{Buffer: receiveBuffer})
		if err != nil {
			st.release()
			return nil, err
		}
		st.own[addr.Addr()] = true
		st.sockets = append(st.sockets, sock)
	}
	return &change{s, st}, nil
}

func (st *state) release() {
	for _, sock := range st.sockets {
		sock.Release()
	}
}

// serves reports whether a client at a is answered.
func (st *state) serves(a netip.Addr) bool {
	for _, p := range st.machines {
		if p.Contains(a) {
			return true
		}
	}
	return st.own[a] || a.IsLoopback()
}

type change struct {
	service *Service
	state   *state
}

// Commit implements services.Change.
func (c *change) Commit() {
	old := c.service.state.Swap(c.state)
	for _, to := range []chan struct{}{c.service.changed, c.service.news} {
		select {
		case to <- struct{}{}:
		default: // it is told already
		}
	}
	if old != nil {
		old.release()
	}
}

// Discard implements services.Change.
func (c *change) Discard() { c.state.release() }

// Served reports whether somebody answers at an address of plan.NTP.Given, this server or another.
func (s *Service) Served(at netip.AddrPort) bool { return (*s.served.Load())[at] }
