package ftp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"helperd/internal/socket"
	"helperd/timeline"
)

const (
	// drain is how long downloads may go on after Serve is told to end; it is
	// below the time that the daemon allows for all services.
	drain = 4 * time.Second
	// writeWithin is how long a client may take for the line of an answer.
	writeWithin = 10 * time.Second
)

// Serve implements services.Service.
func (s *Service) Serve(ctx context.Context) error {
	s.setEnded(false)
	readers := socket.NewReaders(s.host.Guard, "ftp accept", s.accept)
	defer readers.Stop()
	for {
		if st := s.state.Load(); st != nil {
			readers.Follow(ctx, st.sockets)
		}
		select {
		case <-ctx.Done():
			s.setEnded(true)
			s.closeSessions()
			return nil
		case <-s.changed:
		}
	}
}

// accept takes connections from sock until ctx ends or sock is given up: then
// it returns nil. Sessions live on.
func (s *Service) accept(ctx context.Context, sock *socket.Socket) error {
	if sock.Wait(ctx) != nil {
		return nil
	}
	listeners, err := sock.Listeners()
	if err != nil {
		return err
	}
	l := listeners[0]
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.host.Guard.Go("ftp close", func() {
		<-ctx.Done()
		_ = l.Close()
	})
	for {
		conn, err := l.AcceptTCP()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err // a socket that was given up ends in Wait
		}
		s.admit(conn)
	}
}

// admit begins a session, or says why there is none.
func (s *Service) admit(conn *net.TCPConn) {
	addr := address(conn.RemoteAddr())
	if !s.state.Load().machine(addr) {
		s.refuse(conn, addr.String()+" is in none of the machine networks; add its network to `networks:`")
		return
	}
	if s.clients.Enter(addr, false) != nil {
		s.host.Events.Emit(timeline.Event{Kind: timeline.FTPFailed, Addr: addr, Detail: "too many FTP connections; close some"})
		s.refuse(conn, "too many connections; close some")
		return
	}
	s.host.Guard.Go("ftp session", func() {
		defer s.clients.Leave(addr)
		defer func() { _ = conn.Close() }()
		s.host.Fuse.Check()
		newSession(s, conn).serve()
	})
}

// refuse answers in one line and closes the connection. The line fits into an empty send buffer.
func (s *Service) refuse(conn *net.TCPConn, why string) {
	s.count.refused.Add(1)
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintf(conn, "421 %s\r\n", why)
	_ = conn.Close()
}

// address is that of a TCP connection's end as the plan writes it.
func address(a net.Addr) netip.Addr {
	return a.(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
}

func (s *Service) setEnded(ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = ended
}

// enter notes a session; false: it must not begin.
func (s *Service) enter(x *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.sessions[x] = struct{}{}
	return true
}

func (s *Service) leave(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, x)
}

// closeSessions ends the idle ones at once and the others once their download is done.
func (s *Service) closeSessions() {
	for end := time.Now().Add(drain); ; time.Sleep(20 * time.Millisecond) {
		s.mu.Lock()
		for x := range s.sessions {
			if !x.busy() || time.Now().After(end) {
				x.close()
			}
		}
		left := len(s.sessions)
		s.mu.Unlock()
		if left == 0 || time.Now().After(end.Add(time.Second)) {
			return
		}
	}
}
