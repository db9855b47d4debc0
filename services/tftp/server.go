package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"helperd/internal/human"
	"helperd/internal/socket"
	"helperd/timeline"
)

// drain is how long transfers may go on after Serve is told to end; it is
// below the time that the daemon allows for all services.
const drain = 4 * time.Second

// Serve implements services.Service. It reads requests from the sockets of the
// state, and follows them as they change.
func (s *Service) Serve(ctx context.Context) error {
	e, err := newEngine(s.host.Guard, s.ended)
	if err != nil {
		return err
	}
	working, cancel := context.WithCancel(context.Background())
	done := e.start(working)
	s.jobs.open(e.wake)
	defer func() {
		s.drain()
		cancel()
		e.wake()
		for _, d := range done {
			<-d
		}
		e.stop()
	}()
	readers := socket.NewReaders(s.host.Guard, "tftp requests", func(ctx context.Context, sock *socket.Socket) error { return s.read(ctx, sock, e) })
	defer readers.Stop()
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

// drain lets transfers end, and stops those that do not.
func (s *Service) drain() {
	for until := time.Now().Add(drain); s.jobs.running() > 0 && time.Now().Before(until); {
		time.Sleep(20 * time.Millisecond)
	}
	s.jobs.stopAll()
}

// read takes requests from sock until ctx ends or sock is given up: then it returns nil.
func (s *Service) read(ctx context.Context, sock *socket.Socket, e *engine) error {
	if sock.Wait(ctx) != nil {
		return nil
	}
	conns, err := sock.PacketConns()
	if err != nil {
		return err
	}
	conn := conns[0]
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.host.Guard.Go("tftp close", func() {
		<-ctx.Done()
		_ = conn.Close()
	})
	asked := sock.Key.Addr.Addr()
	if asked.IsUnspecified() {
		if err := wantDestination(conn, asked); err != nil {
			return err
		}
	}
	buf, control := make([]byte, maxRequest), make([]byte, controlLen)
	for {
		n, nc, _, from, err := conn.ReadMsgUDPAddrPort(buf, control)
		if err != nil || !from.IsValid() {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) || err == nil {
				return nil // an empty read without a sender: the socket was shut down
			}
			return err
		}
		local := asked
		if asked.IsUnspecified() {
			local = destination(control[:nc], from.Addr().Zone())
		}
		s.receive(conn, buf[:n], clientAddr(from), local, e)
	}
}

// receive admits one packet. Strays and errors get no answer: two servers would talk for ever.
func (s *Service) receive(conn *net.UDPConn, packet []byte, client netip.AddrPort, local netip.Addr, e *engine) {
	if len(packet) < 2 || client.Port() == 0 {
		return
	}
	if op := binary.BigEndian.Uint16(packet); op != opRead && op != opWrite {
		s.count.strays.Add(1)
		return
	}
	j, verdict := s.jobs.enter(client, packet, s.isNode(client.Addr()))
	switch verdict {
	case duplicate:
		s.count.duplicates.Add(1)
	case flooded:
		s.count.refused.Add(1)
	case tooMany:
		s.count.refused.Add(1)
		_, _ = conn.WriteToUDPAddrPort(errBusy.packet(), client) // best effort: the client asks again
		s.tell(timeline.Event{
			Kind: timeline.TFTPFailed, Addr: client.Addr(),
			Detail: "too many transfers at a time; the client is told to try again",
		})
	case admitted:
		s.host.Guard.Go("tftp request", func() { s.serve(j, local, e) })
	}
}

// serve opens what one request asks for and hands the transfer to the engine. It may wait for disks.
func (s *Service) serve(j *job, local netip.Addr, e *engine) {
	var p port
	var src content
	defer func() { // what the engine did not take over
		if p != nil {
			p.close()
		}
		if src != nil {
			src.close()
		}
		if j != nil {
			s.jobs.leave(j)
		}
	}()
	s.host.Fuse.Check()
	st := s.state.Load()
	p, way, err := openPort(local, j.client)
	if err != nil {
		s.count.failed.Add(1)
		s.host.Log.Warn("no socket for a transfer", "ip", j.client.Addr(), "err", err)
		return
	}
	out := senders.Get().(*sender)
	defer senders.Put(out)
	r, bad := parseRequest([]byte(j.request))
	if bad != nil {
		s.count.refused.Add(1)
		_ = out.packet(p, bad.packet()) // best effort: a client that got no answer asks again
		return
	}
	path := human.Printable(r.path())
	src, err = s.open(st, r.path(), j.client.Addr())
	if err != nil {
		m := &miss{wire: errAccess, detail: err.Error()}
		_ = errors.As(err, &m) // any other error is told as an access violation
		_ = out.packet(p, m.wire.packet())
		s.missed(j.client.Addr(), path, m)
		return
	}
	if r.netascii {
		src = newNetascii(src)
	}
	now := time.Now()
	t := &transfer{port: p, src: src, mayWait: true, story: story{service: s, job: j, path: path, begun: now, told: now}}
	t.terms = negotiate(&r, src.size(), way.largest(st.mtu))
	t.segment = t.block <= way.largest(way.mtu)
	s.jobs.begin(j, t)
	err = t.begin(out, now)
	t.mayWait = false
	p, src, j = nil, nil, nil
	e.carry(t, err)
}

// senders are lent to requests.
var senders = sync.Pool{New: func() any { return newSender() }}

// missed tells people that there is no such file for the client.
func (s *Service) missed(client netip.Addr, path string, m *miss) {
	if isProbe(path) {
		return
	}
	s.count.misses.Add(1)
	s.tell(timeline.Event{Kind: m.kind(), MAC: m.mac, Addr: client, File: path, Detail: m.detail})
}
