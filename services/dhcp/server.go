package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"helperd/internal/mmsg"
	"helperd/services/dhcp/engine"
	"helperd/services/dhcp/packet"
)

const (
	// batch is the number of packets that are read and sent by one system call.
	batch = 128
	// largestRequest is longer than any request on Ethernet.
	largestRequest = 2048
	// longestSend is how long a full send buffer may hold up the answers that were
	// stored, such as that of a slow link. A reader never waits for one.
	longestSend = 100 * time.Millisecond
)

// answer is an answer with the port that it leaves by.
type answer struct {
	engine.Answer
	port   *port
	stored chan<- error // told what became of the record; nil: nobody waits
}

// read serves the requests of a port until the port is closed or ctx ends.
func (s *Service) read(ctx context.Context, p *port) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return p.ended(ctx, err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return p.ended(ctx, err)
	}
	stop := s.deadlineAtEnd(ctx, conn)
	defer stop()
	p.alive.Store(true)
	defer p.alive.Store(false)
	r := &reader{in: mmsg.New(batch, largestRequest, 1), out: newSender(s)}
	r.out.hasty = true
	for {
		n, err := r.in.Receive(raw)
		if err != nil {
			return p.ended(ctx, err)
		}
		s.serve(r, p, n)
	}
}

// deadlineAtEnd makes c's readers stop when ctx ends. The function it gives takes that back.
func (s *Service) deadlineAtEnd(ctx context.Context, c interface{ SetReadDeadline(time.Time) error }) func() {
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

// reader is what one reading goroutine works with.
type reader struct {
	in      *mmsg.Batch
	request packet.Request
	answers []*answer
	out     *sender
}

// serve decides n received packets, sends what can go at once and queues what must be stored before.
func (s *Service) serve(r *reader, p *port, n int) {
	s.host.Fuse.Check()
	s.decide(r, p, n)
	for _, a := range r.answers {
		r.out.queue(a)
		if a.Probe {
			p.probe(s.xid)
		}
	}
	r.out.flush()
	r.answers = s.recycle(r.answers)
}

func (s *Service) decide(r *reader, p *port, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	link, served := s.adopt()[p]
	if !served {
		return // the port is on its way out
	}
	now := s.unix()
	for i := range n {
		if r.in.Truncated(i) || r.request.Parse(r.in.Message(i)) != nil {
			s.malformed.Add(1)
			continue
		}
		if r.request.XID == s.xid {
			continue // a relay brought back what probe sent
		}
		a := s.answers.Get().(*answer)
		a.port = p
		s.engine.Handle(&r.request, link, now, &a.Answer)
		s.await(a, r.in.Message(i))
		r.answers = s.pass(a, now, r.answers)
	}
}

// pass gives a on: to the disk, to the list of what can go at once, or away. The caller holds s.mu.
func (s *Service) pass(a *answer, now int64, list []*answer) []*answer {
	switch {
	case a.Durable && s.disk.Failing() != nil:
		s.engine.Lost(&a.Record, now)
		s.answers.Put(a)
	case a.Durable:
		// In the order of the decisions: records of one address must not pass each other.
		if !s.commits.add(a) {
			s.engine.Lost(&a.Record, now)
			s.overflow.Add(1)
			s.answers.Put(a)
		}
	case len(a.Frame) > 0 || len(a.Events) > 0:
		return append(list, a)
	default:
		s.answers.Put(a)
	}
	return list
}

// recycle gives the answers back and empties the list.
func (s *Service) recycle(list []*answer) []*answer {
	for i, a := range list {
		s.answers.Put(a)
		list[i] = nil
	}
	return list[:0]
}

// sender sends answers of one goroutine in batches.
type sender struct {
	s      *Service
	port   *port
	hasty  bool // never waits
	routed *mmsg.Batch
	frames *mmsg.Batch
}

func newSender(s *Service) *sender {
	return &sender{s: s, routed: mmsg.New(batch, 1, packet.Headers+packet.Buffer), frames: mmsg.New(batch, 1, packet.Headers+packet.Buffer)}
}

// queue tells what is to be told of a and makes it ready to leave.
func (w *sender) queue(a *answer) {
	if a.Acked.IsValid() {
		w.s.host.Nodes.Acked(a.Client, a.Acked) // before the node can use the address
	}
	for _, e := range a.Events {
		w.s.host.Events.Emit(e)
	}
	if len(a.Frame) == 0 {
		return
	}
	if w.port != a.port || w.routed.Reply() == nil || w.frames.Reply() == nil {
		w.flush()
		w.port = a.port
	}
	packet.Frame(a.Frame, netip.AddrPortFrom(a.Source, packet.ServerPort), a.To)
	if a.Routed {
		w.routed.QueueTo(a.To, copy(w.routed.Reply(), a.Frame))
	} else {
		w.frames.QueueLink(a.port.index, a.MAC, copy(w.frames.Reply(), a.Frame))
	}
}

// flush sends what is queued. What the kernel refuses is counted: the client asks again.
func (w *sender) flush() {
	if w.port != nil {
		w.send(w.routed, w.port.routed)
		w.send(w.frames, w.port.frames)
	}
}

func (w *sender) send(b *mmsg.Batch, by *os.File) {
	if b.Queued() > 0 {
		w.s.unsent.Add(uint64(w.transmit(b, by)))
	}
}

// transmit waits for a full send buffer, unless in haste or when the last wait
// for that port was in vain, as with the tap device of a paused virtual machine.
func (w *sender) transmit(b *mmsg.Batch, by *os.File) (failed int) {
	if w.hasty || w.port.stuck.Load() {
		raw, err := by.SyscallConn()
		if err != nil {
			return b.Queued()
		}
		if failed, _ = b.SendNow(raw); failed == 0 {
			w.port.stuck.Store(false)
		}
		return failed
	}
	failed, err := b.SendWithin(by, longestSend)
	w.port.stuck.Store(errors.Is(err, os.ErrDeadlineExceeded))
	return failed
}
