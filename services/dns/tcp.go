package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"helperd/internal/socket"
	"helperd/services/dns/wire"
)

const (
	maxStreams          = 2000 // connections in total
	maxStreamsPerClient = 200
	idleTimeout         = 10 * time.Second // without a complete query (RFC 7766 section 6.2.3)
	writeTimeout        = 5 * time.Second
	frameLen            = 2 // length in front of a message
)

// serveTCP accepts connections of sock until ctx ends.
func (r *server) serveTCP(ctx context.Context, sock *socket.Socket) error {
	ls, err := sock.Listeners()
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	var ended []<-chan struct{}
	for _, l := range ls {
		ended = append(ended, r.loop(ctx, "dns accept "+sock.Key.String(), func(context.Context) error { return r.accept(l) }))
	}
	<-ctx.Done()
	for i, l := range ls {
		_ = l.Close()
		<-ended[i]
	}
	return nil
}

func (r *server) accept(l *net.TCPListener) error {
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("dns: accept: %w", err)
		}
		st := newStream(r, conn)
		if !r.streams.add(st) {
			_ = conn.Close()
			r.streams.count.dropped.Add(1)
			continue
		}
		r.host.Guard.Go("dns connection", func() {
			defer r.streams.remove(st)
			st.serve()
		})
	}
}

// streams are the open connections of one run. They outlive the listener that accepted them.
type streams struct {
	service *Service
	count   *counters

	mu       sync.Mutex
	stopping bool
	open     map[*stream]struct{}
	clients  map[netip.Addr]int
	empty    chan struct{} // closed when stopping and none is left
}

func newStreams(s *Service) *streams {
	return &streams{service: s, count: s.tally.open(), open: map[*stream]struct{}{}, clients: map[netip.Addr]int{}, empty: make(chan struct{})}
}

// add takes st on, unless there are too many connections or the server stops.
func (s *streams) add(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	client := st.peer.Addr()
	if s.stopping || len(s.open) >= maxStreams || s.clients[client] >= maxStreamsPerClient {
		return false
	}
	st.count = s.count
	s.open[st] = struct{}{}
	s.clients[client]++
	s.service.conns.Add(1)
	return true
}

func (s *streams) remove(st *stream) {
	_ = st.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, st)
	client := st.peer.Addr()
	if s.clients[client]--; s.clients[client] == 0 {
		delete(s.clients, client)
	}
	s.service.conns.Add(-1)
	if s.stopping && len(s.open) == 0 {
		close(s.empty)
	}
}

// stop lets every connection answer what it has read, for a moment, and closes
// it. Then abandon gives up what the forwarders have not answered.
func (s *streams) stop(abandon func()) {
	s.mu.Lock()
	s.stopping = true
	if len(s.open) == 0 {
		close(s.empty)
	}
	for st := range s.open {
		st.stop()
	}
	s.mu.Unlock()
	select {
	case <-s.empty:
	case <-time.After(drain):
		s.mu.Lock()
		for st := range s.open {
			_ = st.conn.Close()
		}
		s.mu.Unlock()
	}
	abandon()
	<-s.empty
	s.service.tally.close(s.count)
}

// stream is one TCP connection.
type stream struct {
	*server
	conn    *net.TCPConn
	peer    netip.AddrPort
	idle    time.Duration // allowed without a complete query
	count   *counters
	pending sync.WaitGroup // questions that wait for the forwarders

	reading sync.Mutex // guards stopped and the deadline of reads
	stopped bool
	writing sync.Mutex // a write may take long: whoever stops reading does not wait for it
}

func newStream(s *server, conn *net.TCPConn) *stream {
	peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	return &stream{server: s, conn: conn, peer: netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), idle: idleTimeout}
}

// stop ends reading.
func (t *stream) stop() {
	t.reading.Lock()
	defer t.reading.Unlock()
	t.stopped = true
	_ = t.conn.SetReadDeadline(time.Now())
}

// await allows the next query the idle time to come in whole, unless reading was stopped.
func (t *stream) await() {
	t.reading.Lock()
	defer t.reading.Unlock()
	if !t.stopped {
		_ = t.conn.SetReadDeadline(time.Now().Add(t.idle))
	}
}

// serve answers queries until the client ends, is idle, or sends nonsense. A
// client that has shut down its side still gets all answers.
func (t *stream) serve() {
	defer t.pending.Wait()
	in := make([]byte, 0, 2048)
	var q wire.Query
	t.await()
	for {
		if len(in) == cap(in) {
			in = append(make([]byte, 0, min(2*cap(in), frameLen+65535)), in...)
		}
		n, err := t.conn.Read(in[len(in):cap(in)])
		in = in[:len(in)+n]
		if n > 0 {
			t.host.Fuse.Check()
			used, ok := t.turn(in, &q)
			if !ok {
				return
			}
			if used > 0 {
				in = in[:copy(in, in[used:])]
				t.await()
			}
		}
		if err != nil {
			return
		}
	}
}

// turn answers the complete queries in b with one write and returns how many
// bytes they take. What the forwarders know is written when it is known, in any order (RFC 7766 section 6.2.1.1).
func (t *stream) turn(b []byte, q *wire.Query) (used int, ok bool) {
	st := t.state.Load()
	client := st.client(t.peer.Addr(), true)
	buf := replies.Get().(*[]byte)
	defer replies.Put(buf)
	out := (*buf)[:0]
	var count turnCount
	defer func() { t.count.add(&count) }()
	for len(b)-used >= frameLen {
		size := int(binary.BigEndian.Uint16(b[used:]))
		if len(b)-used-frameLen < size {
			break
		}
		msg := b[used+frameLen : used+frameLen+size]
		used += frameLen + size
		if cap(out)-len(out) < frameLen+client.MaxReply() { // the next reply may not fit
			if t.write(out) != nil {
				return used, false
			}
			out = out[:0]
		}
		reply := out[len(out)+frameLen : cap(out)]
		n, next, target := wire.Answer(st.table, client, q, msg, reply)
		switch next {
		case wire.Drop:
			count.dropped++
			_ = t.write(out)
			return used, false // an answer, or less than a header: the stream makes no sense
		case wire.Ask, wire.Chase:
			if t.askLater(msg, reply[:n], target, client) {
				t.arrived(st, t.peer.Addr(), q)
				continue
			}
			n = wire.Failure(q, client, msg, reply, rcodeServFail) // the client of a stream does not ask again by itself
		case wire.Send:
		}
		count.answered(reply)
		t.arrived(st, t.peer.Addr(), q)
		binary.BigEndian.PutUint16(out[len(out):frameLen+len(out)], uint16(n))
		out = out[:len(out)+frameLen+n]
	}
	return used, t.write(out) == nil
}

const rcodeServFail = 2

// replies are buffers for the replies of one turn.
var replies = sync.Pool{New: func() any {
	b := make([]byte, 2*(frameLen+65535))
	return &b
}}

func (t *stream) askLater(msg, base []byte, target string, c wire.Client) bool {
	q := newQuestion(msg, base, target, c, net.TCPAddrFromAddrPort(t.peer), c.MaxReply())
	t.pending.Add(1)
	if t.later(t.questions, q, t.pending.Done, func(reply []byte) {
		framed := binary.BigEndian.AppendUint16(make([]byte, 0, frameLen+len(reply)), uint16(len(reply)))
		if t.write(append(framed, reply...)) != nil {
			t.count.failed.Add(1)
		}
	}, t.count) {
		return true
	}
	t.pending.Done()
	return false
}

// write sends b whole. A client that does not read is given up.
func (t *stream) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	_ = t.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := t.conn.Write(b)
	if err != nil {
		_ = t.conn.Close() // a part may be out: nothing can follow it
	}
	return err
}
