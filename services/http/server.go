package http

import (
	"context"
	"errors"
	"log/slog"
	nethttp "net/http"
	"time"

	"helperd/internal/socket"
)

const (
	idleTimeout = 2 * time.Minute
	maxHeader   = 16 << 10 // bytes
	// drain is how long downloads may go on after Serve is told to end; it is
	// below the time that the daemon allows for all services.
	drain = 4 * time.Second
)

// Serve implements services.Service. One server handles the connections of all
// listeners, and of listeners that come and go with the state. net/http has a
// goroutine for each connection; handle guards what runs in it.
func (s *Service) Serve(ctx context.Context) error {
	server := &nethttp.Server{
		Handler:           nethttp.HandlerFunc(s.handle),
		ReadHeaderTimeout: s.header,
		IdleTimeout:       idleTimeout,
		ConnContext:       withConn,
		// OPTIONS * is refused like every other method.
		DisableGeneralOptionsHandler: true,
		// net/http adds 4 KiB of slack to what it is told.
		MaxHeaderBytes: maxHeader - 4096,
		ErrorLog:       slog.NewLogLogger(s.host.Log.Handler(), slog.LevelDebug),
	}
	readers := socket.NewReaders(s.host.Guard, "http accept", func(ctx context.Context, sock *socket.Socket) error {
		return s.accept(ctx, server, sock)
	})
	log, endLog := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the downloads that drain
	logged := s.host.Guard.Loop(log, "http download log", s.serveLog)
	defer func() {
		readers.Stop()
		_ = server.Close()
		endLog()
		<-logged
	}()
	for {
		if st := s.state.Load(); st != nil {
			readers.Follow(ctx, st.sockets)
		}
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
			defer cancel()
			_ = server.Shutdown(end) // what is still open then is cut by Close
			return nil
		case <-s.changed:
		}
	}
}

// accept takes connections from sock until ctx ends or sock is given up: then
// it returns nil. Connections live on.
func (s *Service) accept(ctx context.Context, server *nethttp.Server, sock *socket.Socket) error {
	if sock.Wait(ctx) != nil {
		return nil
	}
	listeners, err := sock.Listeners()
	if err != nil {
		return err
	}
	l := &listener{TCPListener: listeners[0], service: s, socket: sock}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.host.Guard.Go("http close", func() {
		<-ctx.Done()
		_ = l.Close()
	})
	err = server.Serve(l)
	if ctx.Err() != nil || errors.Is(err, nethttp.ErrServerClosed) {
		return nil
	}
	return err // a socket that was given up ends in Wait
}
