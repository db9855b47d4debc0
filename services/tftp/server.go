package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"helperd/internal/human"
	"helperd/internal/socket"
	"helperd/services/tftp/engine"
	"helperd/services/tftp/packet"
	"helperd/timeline"
)

// maxRequest in bytes is the longest request that is read whole.
const maxRequest = 2048

// drain is how long transfers may go on after Serve is told to end; it is
// below the time that the daemon allows for all services.
const drain = 4 * time.Second

// Serve implements services.Service. It reads requests from the sockets of the
// state, and follows them as they change.
func (s *Service) Serve(ctx context.Context) error {
	e, err := engine.New(s.host.Guard)
	if err != nil {
		return err
	}
	working, cancel := context.WithCancel(context.Background())
	done := e.Start(working)
	s.jobs.open(e.Wake)
	defer func() {
		s.drain()
		cancel()
		e.Wake()
		for _, d := range done {
			<-d
		}
		e.Stop()
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
func (s *Service) read(ctx context.Context, sock *socket.Socket, e *engine.Engine) error {
	conn, stop, err := sock.Packets(ctx, s.host.Guard)
	if conn == nil {
		return err
	}
	defer stop()
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
func (s *Service) receive(conn *net.UDPConn, p []byte, client netip.AddrPort, local netip.Addr, e *engine.Engine) {
	if len(p) < 2 || client.Port() == 0 {
		return
	}
	if op := binary.BigEndian.Uint16(p); op != packet.OpRead && op != packet.OpWrite {
		s.count.strays.Add(1)
		return
	}
	j, verdict := s.jobs.enter(client, p, s.isNode(client.Addr()))
	switch verdict {
	case duplicate:
		s.count.duplicates.Add(1)
	case flooded:
		s.count.refused.Add(1)
	case tooMany:
		s.count.refused.Add(1)
		_, _ = conn.WriteToUDPAddrPort(packet.ErrBusy.Bytes(), client) // best effort: the client asks again
		s.tell(timeline.Event{
			Kind: timeline.TFTPFailed, Addr: client.Addr(),
			Detail: "too many transfers at a time; the client is told to try again",
		})
	case admitted:
		s.host.Guard.Go("tftp request", func() { s.serve(j, local, e) })
	}
}

// serve opens what one request asks for and hands the transfer to the engine. It may wait for disks.
func (s *Service) serve(j *job, local netip.Addr, e *engine.Engine) {
	var p engine.Port
	var src engine.Content
	defer func() { // what the engine did not take over
		if p != nil {
			p.Close()
		}
		if src != nil {
			src.Close()
		}
		if j != nil {
			s.jobs.leave(j)
		}
	}()
	s.host.Fuse.Check()
	st := s.state.Load()
	p, way, err := engine.OpenPort(local, j.client)
	if err != nil {
		s.count.failed.Add(1)
		s.host.Log.Warn("no socket for a transfer", "ip", j.client.Addr(), "err", err)
		return
	}
	r, bad := packet.ParseRequest([]byte(j.request))
	if bad != nil {
		s.count.refused.Add(1)
		engine.Refuse(p, bad)
		return
	}
	path := human.Printable(r.Path())
	src, err = s.open(st, r.Path(), j.client.Addr())
	if err != nil {
		m := &miss{wire: packet.ErrAccess, detail: err.Error()}
		_ = errors.As(err, &m) // any other error is told as an access violation
		engine.Refuse(p, m.wire)
		s.missed(j.client.Addr(), path, m)
		return
	}
	if r.Netascii {
		src = engine.NewNetascii(src)
	}
	now := time.Now()
	terms := r.Negotiate(src.Size(), way.Largest(st.mtu))
	t := engine.NewTransfer(p, way, src, terms, &story{service: s, job: j, path: path, begun: now, told: now})
	s.jobs.begin(j, t)
	err = t.Begin(now)
	p, src, j = nil, nil, nil
	e.Carry(t, err)
}

// missed tells people that there is no such file for the client.
func (s *Service) missed(client netip.Addr, path string, m *miss) {
	if isProbe(path) {
		return
	}
	s.count.misses.Add(1)
	s.tell(timeline.Event{Kind: m.kind(), MAC: m.mac, Addr: client, File: path, Detail: m.detail})
}
