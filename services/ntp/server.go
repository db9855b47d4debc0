package ntp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"helperd/internal/mmsg"
	"helperd/internal/socket"
	"helperd/services/ntp/packet"
)

const (
	// batchSize is small: what is sent by one system call has one transmit time.
	batchSize = 32
	// maxRequest in bytes is that of an Ethernet frame: requests with extension fields, as of NTS, have 1 KiB and more.
	maxRequest = 1500
)

// Serve implements services.Service. It reads requests from the sockets of the
// state, and follows them as they change.
func (s *Service) Serve(ctx context.Context) error {
	s.look(ctx) // before anybody is answered
	ctx, cancel := context.WithCancel(ctx)
	watched := s.host.Guard.Loop(ctx, "ntp clock", s.watch)
	readers := socket.NewReaders(s.host.Guard, "ntp requests", s.read)
	defer func() {
		readers.Stop()
		cancel()
		<-watched
	}()
	for {
		if st := s.state.Load(); st != nil {
			readers.Follow(ctx, st.sockets)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		}
	}
}

// reader serves one socket.
type reader struct {
	*Service
	raw     syscall.RawConn
	batch   *mmsg.Batch
	limits  *limits
	request packet.Request
	fresh   [][]byte // answers of this turn that have no transmit time yet
}

// read answers what comes in on sock until ctx ends or sock is given up: then it returns nil.
func (s *Service) read(ctx context.Context, sock *socket.Socket) error {
	conn, stop, err := sock.Packets(ctx, s.host.Guard)
	if conn == nil {
		return err
	}
	defer stop()
	r, err := s.newReader(conn)
	if err != nil {
		return fmt.Errorf("ntp: %s: %w", sock.Key, err)
	}
	for {
		n, err := r.batch.Receive(r.raw)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("ntp: receive: %w", err)
		}
		s.host.Fuse.Check()
		if err := r.turn(n); err != nil {
			return err
		}
	}
}

func (s *Service) newReader(conn *net.UDPConn) (*reader, error) {
	r := &reader{Service: s, batch: mmsg.New(batchSize, maxRequest, packet.MaxReply), limits: newLimits(), fresh: make([][]byte, 0, batchSize)}
	var err error
	if r.raw, err = conn.SyscallConn(); err != nil {
		return nil, err
	}
	return r, r.batch.WantStamps(r.raw)
}

// turn answers the n requests of a batch.
func (r *reader) turn(n int) error {
	st, h, now := r.state.Load(), r.header.Load(), time.Since(r.begun)
	var t turnCount
	for i := range n {
		r.serve(st, h, i, now, &t)
	}
	if len(r.fresh) > 0 {
		sent := packet.Now()
		for _, reply := range r.fresh {
			packet.Stamp(reply, sent)
		}
		r.fresh = r.fresh[:0]
	}
	failed, err := r.batch.Send(r.raw)
	t.unsent += uint64(failed)
	r.count.add(&t)
	if errors.Is(err, net.ErrClosed) {
		return nil // Receive says so too
	}
	return err
}

// serve makes the answer to message i of the batch, if it gets one.
func (r *reader) serve(st *state, h *packet.Header, i int, now time.Duration, t *turnCount) {
	peer := r.batch.Peer(i)
	own := st.own[peer.Addr()]
	switch {
	case !st.serves(peer.Addr()):
		t.strangers++
		return
	case r.batch.Truncated(i) || peer.Port() == 0:
		t.malformed++
		return
	}
	switch r.request.Parse(r.batch.Message(i)) {
	case packet.Other:
		t.other++
		return
	case packet.Malformed:
		t.malformed++
		return
	}
	out := r.batch.Reply() // never full: one reply a message
	switch r.limits.take(peer.Addr(), now) {
	case drop:
		t.limited++
	case kiss:
		t.limited++
		r.batch.Queue(i, r.request.Kiss(out))
	case answer:
		r.answer(h, i, out)
		if !own {
			t.answered++
		}
	}
}

// answer queues the answer to message i, for which out has room.
func (r *reader) answer(h *packet.Header, i int, out []byte) {
	received := packet.Now()
	if at, ok := r.batch.Stamp(i); ok {
		received = packet.TimeOf(at.Unix(), int64(at.Nanosecond()))
	}
	size := r.request.Reply(out, h, received)
	r.batch.Queue(i, size)
	r.fresh = append(r.fresh, out[:size])
	if r.request.Transmit != 0 {
		r.host.Nodes.SawClock(r.batch.Peer(i).Addr(), r.request.Transmit.Sub(received), true)
	}
}
