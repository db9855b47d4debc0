package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
	"helperd/services/lb/stats"
)

const (
	headerTime = 10 * time.Second
	answerTime = 30 * time.Second // for a whole request and its answer, which are small
	idleTime   = time.Minute
	maxHeader  = 8 << 10 // bytes
	drain      = 2 * time.Second
	askFor     = 2 * time.Second // by Check
	maxClients = 256             // connections
	maxOfOne   = 32
)

// Balancer is what the pages ask.
type Balancer interface {
	Stats() []stats.Stat
	WriteStats(w io.Writer) error
}

// Service serves the pages.
type Service struct {
	host     services.Host
	balancer Balancer
	clients  *socket.Caps
	socket   atomic.Pointer[socket.Socket] // nil: none
	changed  chan struct{}                 // tells Serve of another socket
	handler  http.Handler
}

var _ services.Service = (*Service)(nil)

// New gives a server of pages about b that serves nothing yet.
func New(h services.Host, b Balancer) *Service {
	s := &Service{host: h, balancer: b, clients: socket.NewCaps(maxClients, maxClients, maxOfOne), changed: make(chan struct{}, 1)}
	s.handler = s.pages()
	return s
}

// Name is "admin", as the key of the file.
func (s *Service) Name() string { return "admin" }

type change struct {
	service *Service
	socket  *socket.Socket // nil: none
}

// Prepare takes the socket of p.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	if !p.Admin.Listen.IsValid() {
		return &change{s, nil}, nil
	}
	sock, err := s.host.Sockets.Acquire(socket.Key{Network: "tcp", Addr: p.Admin.Listen}, socket.Options{})
	if err != nil {
		return nil, err
	}
	return &change{s, sock}, nil
}

// Commit implements services.Change.
func (c *change) Commit() {
	old := c.service.socket.Swap(c.socket)
	select {
	case c.service.changed <- struct{}{}:
	default: // Serve is told already
	}
	if old != nil {
		old.Release()
	}
}

// Discard implements services.Change.
func (c *change) Discard() {
	if c.socket != nil {
		c.socket.Release()
	}
}

// Serve implements services.Service.
func (s *Service) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTime, ReadTimeout: answerTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		// net/http adds 4 KiB of slack to what it is told.
		MaxHeaderBytes: maxHeader - 4096, DisableGeneralOptionsHandler: true,
		ErrorLog: slog.NewLogLogger(s.host.Log.Handler(), slog.LevelDebug),
	}
	readers := socket.NewReaders(s.host.Guard, "admin accept", func(ctx context.Context, sock *socket.Socket) error {
		return s.accept(ctx, server, sock)
	})
	defer func() {
		readers.Stop()
		_ = server.Close()
	}()
	for {
		var sockets []*socket.Socket
		if sock := s.socket.Load(); sock != nil {
			sockets = append(sockets, sock)
		}
		readers.Follow(ctx, sockets)
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
			defer cancel()
			_ = server.Shutdown(end)
			return nil
		case <-s.changed:
		}
	}
}

// accept takes connections from sock until ctx ends or sock is given up.
func (s *Service) accept(ctx context.Context, server *http.Server, sock *socket.Socket) error {
	if sock.Wait(ctx) != nil {
		return nil
	}
	listeners, err := sock.Listeners()
	if err != nil {
		return err
	}
	l := &listener{listeners[0], s.clients}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.host.Guard.Go("admin close", func() {
		<-ctx.Done()
		_ = l.Close()
	})
	err = server.Serve(l)
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err // a socket that was given up ends in Wait
}

// Check asks for the page's head. A server that refuses because its caps are reached is one that lives.
func (s *Service) Check(ctx context.Context) error {
	sock := s.socket.Load()
	if sock == nil || !sock.Status().Bound {
		return nil
	}
	addr := sock.Key.Addr
	if err := ask(ctx, addr); err != nil && s.clients.Room(addr.Addr().Unmap(), true) == nil {
		return fmt.Errorf("%s does not answer: %w", addr, err)
	}
	return nil
}

func ask(ctx context.Context, server netip.AddrPort) error {
	conn, err := socket.Ask(ctx, server, askFor)
	if socket.Lacking(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "HEAD / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", server); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "HTTP/1.1 200 ") {
		return fmt.Errorf("unexpected answer %q", strings.TrimSpace(line))
	}
	return nil
}

// Status implements services.Service.
func (s *Service) Status() services.Status {
	sock := s.socket.Load()
	if sock == nil {
		return services.Status{State: services.Disabled}
	}
	st := services.Status{State: services.Up}
	st.Listen(sock.Status())
	return st
}
