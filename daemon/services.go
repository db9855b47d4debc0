package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thejerf/suture/v4"

	"helperd/internal/guard"
	"helperd/services"
	"helperd/services/dhcp"
	"helperd/services/dns"
	"helperd/services/ftp"
	"helperd/services/http"
	"helperd/services/lb"
	"helperd/services/tftp"
	"helperd/timeline"
	"helperd/ui"
)

// service is a service with what the daemon keeps of it.
type service struct {
	services.Service
	fuse      *guard.Fuse
	group     *guard.Group
	lastError atomic.Pointer[string]
	answered  atomic.Bool // its last Check
}

// addServices makes the services in the order of Commit: never offer what cannot be fetched yet.
func (d *Daemon) addServices() {
	d.services = nil
	for _, s := range []struct {
		name string
		make func(services.Host) services.Service
	}{
		{"dns", func(h services.Host) services.Service { return dns.New(h) }},
		{"http", func(h services.Host) services.Service { return http.New(h) }},
		{"tftp", func(h services.Host) services.Service { return tftp.New(h) }},
		{"ftp", func(h services.Host) services.Service { return ftp.New(h) }},
		{"lb", func(h services.Host) services.Service { return lb.New(h) }},
		{"admin", func(h services.Host) services.Service { return ui.New(h, find[*lb.Service](d)) }},
		{"dhcp", func(h services.Host) services.Service { return dhcp.New(h) }},
	} {
		svc := &service{fuse: &guard.Fuse{}}
		svc.group = guard.New(func(name string, value any, stack []byte) { d.panicked(svc, s.name, name, value, stack) })
		svc.Service = s.make(services.Host{
			Log: d.log.With("service", s.name), Guard: svc.group, Fuse: svc.fuse, Sockets: d.sockets,
			Events: d.events, Nodes: d.nodes, Artifacts: d.artifacts, CA: d.ca, StateDir: d.opt.StateDir, Store: d.store, Metrics: d.metrics,
		})
		d.services = append(d.services, svc)
	}
}

func (d *Daemon) panicked(svc *service, name, goroutine string, value any, stack []byte) {
	text := fmt.Sprintf("panic: %v", value)
	svc.lastError.Store(&text)
	d.log.Error("panic", "service", name, "goroutine", goroutine, "err", value, "stack", string(stack))
	d.events.Emit(timeline.Event{Kind: timeline.ServicePanic, Detail: fmt.Sprintf("%s: %v; it was started again, the others go on", name, value)})
}

// supervise runs Serve of every service until ctx ends and starts it again
// within a second when it returns early. The channel is closed when all have ended.
func (d *Daemon) supervise(ctx context.Context) <-chan struct{} {
	var running sync.WaitGroup
	for _, svc := range d.services {
		// One each: suture's pause holds for all services of a supervisor, and every end prolongs it.
		sup := suture.New(svc.Name(), suture.Spec{
			FailureThreshold: 3, FailureDecay: 1, FailureBackoff: 800 * time.Millisecond, BackoffJitter: suture.NoJitter{}, Timeout: drainFor,
			EventHook: func(e suture.Event) {
				d.log.LogAttrs(ctx, slog.LevelDebug, "supervisor", slog.String("event", e.String()))
			},
		})
		sup.Add(&supervised{svc})
		running.Add(1)
		d.guard.Go("supervisor "+svc.Name(), func() {
			defer running.Done()
			_ = sup.Serve(ctx) // ends with ctx, which is no error
			svc.group.Wait()
		})
	}
	done := make(chan struct{})
	d.guard.Go("supervisors", func() {
		defer close(done)
		running.Wait()
	})
	return done
}

// supervised turns a panic of Serve into an error that the supervisor sees.
type supervised struct{ svc *service }

func (s *supervised) String() string { return s.svc.Name() }

// Serve implements suture.Service.
func (s *supervised) Serve(ctx context.Context) error {
	var err error
	if p := s.svc.group.Run("serve", func() { err = s.svc.Serve(ctx) }); p != nil {
		return p
	}
	if ctx.Err() != nil {
		return suture.ErrDoNotRestart
	}
	if err == nil {
		err = fmt.Errorf("%s ended by itself", s.svc.Name())
	}
	text := err.Error()
	s.svc.lastError.Store(&text)
	return err
}
