package dns

import (
	"context"
	"runtime"
	"time"

	"helperd/internal/socket"
)

const (
	// receiveBuffer holds bursts: the system's default loses more than some 270 small packets.
	receiveBuffer = 4 << 20
	maxReaders    = 16
	// drain is how long questions under way may still be answered when a listener ends.
	drain = 1500 * time.Millisecond
)

// readers is the number of sockets that share an address, one a processor.
func readers() int { return min(runtime.GOMAXPROCS(0), maxReaders) }

// listener serves one socket.
type listener struct {
	socket *socket.Socket
	stop   context.CancelFunc
	ended  <-chan struct{}
}

// server is one run of Serve.
type server struct {
	*Service
	listeners map[socket.Key]*listener
	streams   *streams
	// questions is the context of what the forwarders are asked. It outlives Serve's by the drain.
	questions context.Context
	abandon   context.CancelFunc
}

// Serve implements services.Service. It runs the readers of the sockets that
// the committed state asks for. Those of kept sockets go on untouched.
func (s *Service) Serve(ctx context.Context) error {
	run := &server{Service: s, listeners: map[socket.Key]*listener{}, streams: newStreams(s)}
	run.questions, run.abandon = context.WithCancel(context.WithoutCancel(ctx))
	defer run.stop()
	for {
		run.reconcile(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-s.moved:
		}
	}
}

// reconcile starts and ends listeners until they are those of the state.
func (r *server) reconcile(ctx context.Context) {
	r.mu.Lock()
	retired := r.retired
	r.retired = nil
	r.mu.Unlock()
	wanted := map[socket.Key]*socket.Socket{}
	for _, sock := range r.state.Load().sockets {
		wanted[sock.Key] = sock
	}
	var ending []*listener
	for key, l := range r.listeners {
		if wanted[key] != l.socket {
			l.stop()
			delete(r.listeners, key)
			ending = append(ending, l)
		}
	}
	for key, sock := range wanted {
		if r.listeners[key] == nil {
			r.listeners[key] = r.listen(ctx, sock)
		}
	}
	for _, l := range ending {
		<-l.ended
	}
	for _, sock := range retired {
		sock.Release()
	}
}

func (r *server) listen(ctx context.Context, sock *socket.Socket) *listener {
	ctx, stop := context.WithCancel(ctx)
	serve := r.serveUDP
	if sock.Key.Network == "tcp" {
		serve = r.serveTCP
	}
	ended := r.loop(ctx, "dns "+sock.Key.String(), func(ctx context.Context) error {
		if err := sock.Wait(ctx); err != nil {
			return nil // it was released, or there is nothing to serve any more
		}
		return serve(ctx, sock)
	})
	return &listener{sock, stop, ended}
}

// loop is guard.Group.Loop with a line in the log for every error.
func (s *Service) loop(ctx context.Context, name string, fn func(context.Context) error) <-chan struct{} {
	return s.host.Guard.Loop(ctx, name, func(ctx context.Context) error {
		err := fn(ctx)
		if err != nil {
			s.host.Log.Warn("listener is started again", "err", err)
		}
		return err
	})
}

// stop ends all listeners and connections. What is under way gets a moment to be answered.
func (r *server) stop() {
	for _, l := range r.listeners {
		l.stop()
	}
	r.streams.stop(r.abandon)
	for _, l := range r.listeners {
		<-l.ended
	}
}
