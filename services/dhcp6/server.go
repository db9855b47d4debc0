package dhcp6

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv6"

	"helperd/services/dhcp6/engine"
	"helperd/state"
)

// largest is longer than any message of a client with its relays around it.
const largest = 8192

// answer is an answer with where it leaves by.
type answer struct {
	engine.Answer
	port   *port
	to     netip.AddrPort
	from   net.IP       // the address that was asked, if one was; else the kernel chooses
	stored chan<- error // told what became of the records; nil: nobody waits
}

// read serves the messages of a port until the port is closed or ctx ends.
func (s *Service) read(ctx context.Context, p *port) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return p.ended(ctx, err)
	}
	stop := s.deadlineAtEnd(ctx, conn)
	defer stop()
	p.alive.Store(true)
	defer p.alive.Store(false)
	b := make([]byte, largest)
	for {
		n, cm, from, err := conn.ReadFrom(b)
		if err != nil {
			return p.ended(ctx, err)
		}
		s.host.Fuse.Check()
		peer, ok := from.(*net.UDPAddr)
		if !ok || cm == nil || n == len(b) {
			continue // truncated, or nobody to answer
		}
		s.serve(p, &engine.Request{Data: b[:n], From: peer.AddrPort(), Multicast: cm.Dst.IsMulticast()}, cm.Dst)
	}
}

// deadlineAtEnd makes c's reader stop when ctx ends. The function it gives takes that back.
func (s *Service) deadlineAtEnd(ctx context.Context, c *ipv6.PacketConn) func() {
	_ = c.SetReadDeadline(time.Time{})
	done := make(chan struct{})
	s.host.Guard.Go("end of reader", func() {
		select {
		case <-ctx.Done():
			_ = c.SetReadDeadline(time.Unix(1, 0))
		case <-done:
		}
	})
	return func() { close(done) }
}

// serve decides one message and sends the answer, or queues what must be stored before.
func (s *Service) serve(p *port, req *engine.Request, to net.IP) {
	a := &answer{port: p, to: req.From}
	if !req.Multicast {
		a.from = to
	}
	req.From = netip.AddrPortFrom(req.From.Addr().WithZone(""), req.From.Port())
	if !s.decide(a, req) {
		return
	}
	if a.WhoIs {
		if req.Neighbour, req.Asked = s.whoIs(p, req.From.Addr()); !req.Asked || !s.decide(a, req) {
			return
		}
	}
	s.send(a)
}

// decide asks the engine; false: the answer waits for the disk, or there is none.
func (s *Service) decide(a *answer, req *engine.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	link, served := s.adopt()[a.port]
	if !served {
		return false // the port is on its way out
	}
	now := s.unix()
	req.Link = link
	a.Answer = s.engine.Handle(req, now)
	if len(a.Records) == 0 {
		return true
	}
	// In the order of the decisions: records of one address must not pass each other.
	if s.disk.Failing() != nil {
		s.lose(a.Records, now)
	} else if !s.commits.add(a) {
		s.lose(a.Records, now)
		s.overflow.Add(1)
	}
	return false
}

// send tells what is to be told of a and sends it.
func (s *Service) send(a *answer) {
	for _, addr := range a.Acked {
		if !a.Client.IsZero() {
			s.host.Nodes.Acked(a.Client, addr) // before the node can use the address
		}
	}
	for _, e := range a.Events {
		s.host.Events.Emit(e)
	}
	if len(a.Message) == 0 {
		return
	}
	a.port.mu.Lock()
	conn := a.port.conn
	a.port.mu.Unlock()
	cm := &ipv6.ControlMessage{Src: a.from, IfIndex: a.port.index}
	to := &net.UDPAddr{IP: a.to.Addr().AsSlice(), Port: int(a.Port), Zone: a.to.Addr().Zone()}
	if !a.to.Addr().IsLinkLocalUnicast() {
		cm.IfIndex = 0 // a relay may be behind another interface
	}
	if conn == nil {
		return
	}
	if _, err := conn.WriteTo(a.Message, cm, to); err != nil {
		s.unsent.Add(1) // its client asks again
	}
}

// unix gives the time in Unix seconds, and tells the engine when the clock was
// set. The caller holds s.mu.
func (s *Service) unix() int64 {
	now, step := s.clock.Read()
	if step != 0 {
		s.write(s.engine.Stepped(step, now), now)
	}
	return now
}

func leasesOf(group []*answer) (out []state.Lease) {
	for _, a := range group {
		for i := range a.Records {
			out = append(out, a.Records[i].Lease)
		}
	}
	return out
}
