package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"helperd/internal/socket"
	"helperd/timeline"
)

// drain is how long transfers may go on after Serve is told to end; it is
// below the time that the daemon allows for all services.
const drain = 4 * time.Second

// Serve implements services.Service. It reads requests from the sockets of the
// state, and follows them as they change.
func (s *Service) Serve(ctx context.Context) error {
	s.jobs.open()
	readers := socket.NewReaders(s.host.Guard, "tftp requests", s.read)
	defer readers.Stop()
	for {
		if st := s.state.Load(); st != nil {
			readers.Follow(ctx, st.sockets)
		}
		select {
		case <-ctx.Done():
			s.drain()
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
func (s *Service) read(ctx context.Context, sock *socket.Socket) error {
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
		s.receive(conn, buf[:n], clientAddr(from), local)
	}
}

// receive admits one packet. Strays and errors get no answer: two servers would talk for ever.
func (s *Service) receive(conn *net.UDPConn, packet []byte, client netip.AddrPort, local netip.Addr) {
	if len(packet) < 2 || client.Port() == 0 {
		return
	}
	if op := binary.BigEndian.Uint16(packet); op != opRead && op != opWrite {
		s.count.strays.Add(1)
		return
	}
	j, verdict := s.jobs.enter(client, packet)
	switch verdict {
	case duplicate:
		s.count.duplicates.Add(1)
	case tooMany:
		s.count.refused.Add(1)
		_, _ = conn.WriteToUDPAddrPort(errBusy.packet(), client) // best effort: the client asks again
		s.host.Events.Emit(timeline.Event{
			Kind: timeline.TFTPFailed, Addr: client.Addr(),
			Detail: "too many transfers at a time; the client is told to try again",
		})
	case admitted:
		s.host.Guard.Go("tftp transfer", func() { s.serve(j, local) })
	}
}

// serve does one request from start to end.
func (s *Service) serve(j *job, local netip.Addr) {
	var p port
	defer func() {
		s.jobs.leave(j)
		if p != nil {
			p.close()
		}
	}()
	s.host.Fuse.Check()
	st := s.state.Load()
	p, way, err := openPort(local, j.client, j.blocking)
	if err != nil {
		s.count.failed.Add(1)
		s.host.Log.Warn("no socket for a transfer", "ip", j.client.Addr(), "err", err)
		return
	}
	out := newSender(p, defaultBlockSize, way.largest(way.mtu))
	r, bad := parseRequest([]byte(j.request))
	if bad != nil {
		s.count.refused.Add(1)
		_ = out.packet(bad.packet()) // best effort: a client that got no answer asks again
		return
	}
	path := printable(r.path())
	src, err := s.open(st, r.path(), j.client.Addr())
	if err != nil {
		s.missed(out, j.client.Addr(), path, err)
		return
	}
	defer src.close()
	if r.netascii {
		src = newNetascii(src)
	}
	t := &transfer{port: p, src: src}
	t.terms = negotiate(&r, src.size(), way.largest(st.mtu))
	t.out = newSender(p, t.block, way.largest(way.mtu))
	s.jobs.begin(j, t)
	s.run(t, j.client.Addr(), path)
}

// missed tells the client, and the people, that there is no such file for it.
func (s *Service) missed(out *sender, client netip.Addr, path string, err error) {
	m := &miss{wire: errAccess, detail: err.Error()}
	_ = errors.As(err, &m) // any other error is told as an access violation
	_ = out.packet(m.wire.packet())
	if isProbe(path) {
		return
	}
	s.count.misses.Add(1)
	s.host.Events.Emit(timeline.Event{Kind: m.kind(), MAC: m.mac, Addr: client, File: path, Detail: m.detail})
}
