package runtimeapi

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"helperd/internal/guard"
	"helperd/services/lb/stats"
)

// maxClients at a time; more wait in the kernel.
const maxClients = 32

// A Server answers clients on one unix socket, which a reload may move.
type Server struct {
	balancer Balancer
	stats    *stats.Collector
	guard    *guard.Group
	slots    chan struct{} // one for each client
	usage    usageMeter

	mu       sync.Mutex
	listener *listener       // nil: none
	serving  context.Context // of Serve while it runs, else nil
	accepted <-chan struct{} // closed when nobody accepts from listener any more; nil: nobody ever did
}

// New gives a server of b that listens nowhere yet. What it shows are the rows of c.
func New(b Balancer, c *stats.Collector, g *guard.Group) *Server {
	return &Server{balancer: b, stats: c, guard: g, slots: make(chan struct{}, maxClients)}
}

// Path is where clients connect; empty: nowhere.
func (s *Server) Path() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.path
}

// A Change is a socket that is bound and not served yet.
type Change struct {
	server *Server
	next   *listener // nil: none
	kept   bool      // it is the one that is served
}

// Prepare binds the socket at path; empty: none. A socket that nobody answers on any more
// is replaced; anything else that is there is an error.
func (s *Server) Prepare(path string) (*Change, error) {
	s.mu.Lock()
	now := s.listener
	s.mu.Unlock()
	if now != nil && now.path == path && now.intact() {
		return &Change{s, now, true}, nil
	}
	if path == "" {
		return &Change{server: s}, nil
	}
	l, err := listen(path)
	if err != nil {
		return nil, err
	}
	return &Change{server: s, next: l}, nil
}

// Commit serves the socket instead of the one before. Clients of that one go on.
func (c *Change) Commit() {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.kept {
		return
	}
	if s.listener != nil {
		s.listener.close()
	}
	s.listener, s.accepted = c.next, nil
	if s.serving != nil && c.next != nil {
		s.accept(s.serving, c.next)
	}
}

// Discard gives the socket up.
func (c *Change) Discard() {
	if !c.kept && c.next != nil {
		c.next.close()
	}
}

// Serve answers clients until ctx ends; connections end with it. The socket stays: Serve may
// come again.
func (s *Server) Serve(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted != nil { // by a Serve before, whose clients are gone
		s.listener.interrupt()
		<-s.accepted
	}
	s.serving = ctx
	if s.listener != nil {
		s.accept(ctx, s.listener)
	}
	s.guard.Go("lb runtime api end", func() {
		<-ctx.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.serving != ctx {
			return
		}
		s.serving = nil
		if s.listener != nil {
			s.listener.interrupt()
		}
	})
}

// Close gives the socket up for good.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		s.listener.close()
		s.listener, s.accepted = nil, nil
	}
}

// accept takes clients of l until ctx ends or l is closed. The caller holds mu.
func (s *Server) accept(ctx context.Context, l *listener) {
	l.resume()
	s.accepted = s.guard.Loop(ctx, "lb runtime api accept", func(ctx context.Context) error {
		for {
			select {
			case s.slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			conn, err := l.AcceptUnix()
			if err != nil {
				<-s.slots
				if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
					return nil
				}
				return err // again, after a pause
			}
			s.guard.Go("lb runtime api", func() {
				defer func() { <-s.slots }()
				s.converse(ctx, conn)
			})
		}
	})
}

// converse serves a client until it goes, or ctx ends.
func (s *Server) converse(ctx context.Context, conn *net.UnixConn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := s.guard.Loop(ctx, "lb runtime api cut", func(ctx context.Context) error {
		<-ctx.Done()
		return conn.SetDeadline(time.Unix(1, 0))
	})
	defer func() {
		cancel()
		<-ended
		_ = conn.Close()
	}()
	newClient(s, conn).serve()
}
