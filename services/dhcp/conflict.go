package dhcp

import (
	"context"
	"net/netip"
	"time"

	"helperd/services/dhcp/engine"
	"helperd/services/dhcp/packet"
	"helperd/timeline"
)

// probeWait is how long a machine has to answer a conflict probe.
const probeWait = 150 * time.Millisecond

const (
	// restEvery is the time between two looks whether the addresses that were probed ahead are still enough.
	restEvery = time.Second
	// refillEvery is the same while they are not, which must be longer than a probe takes.
	refillEvery = 250 * time.Millisecond
)

// probes are the addresses that are being probed for a conflict, and the
// requests that wait for the outcome. No reader waits: they go on, and
// probeConflicts sends the offers later.
type probes struct {
	flying  []*flight // in the order in which they were asked for
	waiting map[netip.Addr]waiting
	asked   chan struct{} // has an element after a new flight, or an answer to one
}

// flight is one probe on its way.
type flight struct {
	port    *port
	due     time.Time // zero: not sent yet
	outcome engine.Probed
}

// waiting is the last request of the client that will be offered an address.
type waiting struct {
	port    *port
	message []byte
}

func newProbes() probes {
	return probes{waiting: map[netip.Addr]waiting{}, asked: make(chan struct{}, 1)}
}

func (p *probes) wake() {
	select {
	case p.asked <- struct{}{}:
	default:
	}
}

// start makes a probe of addr leave by at.
func (p *probes) start(addr netip.Addr, at *port) {
	if p.to(addr) == nil {
		p.flying = append(p.flying, &flight{port: at, outcome: engine.Probed{Addr: addr}})
		p.wake()
	}
}

// to gives the probe of addr that is on its way, or nil.
func (p *probes) to(addr netip.Addr) *flight {
	for _, f := range p.flying {
		if f.outcome.Addr == addr {
			return f
		}
	}
	return nil
}

// await keeps the request of an answer that waits for a probe. A client that
// asks again meanwhile gets one offer, for its last request. The caller holds s.mu.
func (s *Service) await(a *answer, message []byte) {
	if a.Check.IsValid() {
		s.probes.waiting[a.Check] = waiting{a.port, append([]byte(nil), message...)}
		s.probes.start(a.Check, a.port)
	}
}

// probeConflicts sends conflict probes and the offers that waited for them, until ctx ends.
func (s *Service) probeConflicts(ctx context.Context) error {
	out := newSender(s)
	ahead := time.NewTimer(0)
	defer ahead.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ahead.C:
			ahead.Reset(s.probeAhead())
		case <-s.probes.asked:
		case <-timer.C:
		}
		s.launch()
		if next := s.land(time.Now(), out); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// probeAhead starts probes of addresses that will be offered next, and says when to do so again.
func (s *Service) probeAhead() (again time.Duration) {
	again = restEvery
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.unix()
	var list []netip.Addr
	for p, link := range s.adopt() {
		if !p.alive.Load() {
			continue
		}
		list = s.engine.Ahead(link, now, list[:0])
		for _, addr := range list {
			again = refillEvery
			s.probes.start(addr, p)
		}
	}
	return again
}

// launch sends the probes that have not left yet.
func (s *Service) launch() {
	s.mu.Lock()
	list := map[*port][]*flight{}
	for _, f := range s.probes.flying {
		if f.due.IsZero() {
			list[f.port] = append(list[f.port], f)
		}
	}
	s.mu.Unlock()
	for p, flights := range list {
		for _, f := range flights {
			f.outcome.Sent = true // before an answer can come
		}
		sent := p.probeAddrs(flights)
		due := time.Now().Add(probeWait)
		s.mu.Lock()
		for i, f := range flights {
			f.due = due
			if i >= sent {
				f.outcome.Sent, f.due = false, time.Now()
			}
		}
		s.mu.Unlock()
	}
}

// land tells the engine of the probes that are over, sends the offers that
// waited for them, and says when the next one is over; zero: none is on its way.
func (s *Service) land(at time.Time, out *sender) (next time.Time) {
	var list []*answer
	var events []timeline.Event
	s.mu.Lock()
	links, now := s.adopt(), s.unix()
	flying := s.probes.flying
	s.probes.flying = nil
	for _, f := range flying {
		addr := f.outcome.Addr
		switch {
		case f.due.IsZero():
			s.probes.flying = append(s.probes.flying, f)
		case f.due.After(at) && f.outcome.MAC.IsZero():
			if next.IsZero() || f.due.Before(next) {
				next = f.due
			}
			s.probes.flying = append(s.probes.flying, f)
		default:
			a := s.answers.Get().(*answer)
			s.engine.Checked(f.outcome, now, &a.Answer)
			events = append(events, a.Events...) // told also when the disk fails
			a.Events = a.Events[:0]
			list = s.pass(a, now, list)
			if w, ok := s.probes.waiting[addr]; ok {
				delete(s.probes.waiting, addr)
				list = s.resume(w, links[w.port], now, list)
			}
		}
	}
	s.mu.Unlock()
	for _, e := range events {
		s.host.Events.Emit(e)
	}
	for _, a := range list {
		out.queue(a)
	}
	out.flush()
	s.recycle(list)
	return next
}

// resume decides a request again that waited. The caller holds s.mu.
func (s *Service) resume(w waiting, link []*engine.Subnet, now int64, list []*answer) []*answer {
	var req packet.Request
	if w.port.closed.Load() || req.Parse(w.message) != nil {
		return list
	}
	a := s.answers.Get().(*answer)
	a.port = w.port
	s.engine.Resume(&req, link, now, &a.Answer)
	s.await(a, w.message)
	return s.pass(a, now, list)
}
