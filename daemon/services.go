package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/thejerf/suture/v4"

	"helperd/internal/guard"
	"helperd/services"
	"helperd/services/dhcp"
	"helperd/services/dhcp6"
	"helperd/services/dns"
	"helperd/services/ftp"
	"helperd/services/http"
	"helperd/services/lb"
	"helperd/services/ntp"
	"helperd/services/ra"
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

	stage stage
	stop  context.CancelFunc // ends Serve
	ended <-chan struct{}    // closed when Serve and all that it started have ended
}

// stage is the order in which services end.
type stage int

// The stages: downloads drain for seconds, while the others go on; connections through the balancer stand still for
// the shortest time. A router goes with them: until then it is known whether the program goes on as another one.
const (
	downloads stage = iota
	answers
	tunnels
)

// addServices makes the services in the order of Commit: never offer what cannot be fetched yet.
func (d *Daemon) addServices() {
	d.services = nil
	for _, s := range []struct {
		name  string
		stage stage
		make  func(services.Host) services.Service
	}{
		{"dns", answers, func(h services.Host) services.Service { return dns.New(h) }},
		{"http", downloads, func(h services.Host) services.Service { return http.New(h) }},
		{"tftp", downloads, func(h services.Host) services.Service { return tftp.New(h) }},
		{"ftp", downloads, func(h services.Host) services.Service { return ftp.New(h) }},
		{"lb", tunnels, func(h services.Host) services.Service { return lb.New(h) }},
		{"admin", answers, func(h services.Host) services.Service { return ui.New(h, find[*lb.Service](d)) }},
		{"ntp", answers, func(h services.Host) services.Service { return ntp.New(h) }},
		{"dhcp", answers, func(h services.Host) services.Service {
			h.TimeServed = find[*ntp.Service](d).Served
			return dhcp.New(h)
		}},
		{"ra", tunnels, func(h services.Host) services.Service { return ra.New(h) }},
		{"dhcp6", answers, func(h services.Host) services.Service {
			h.TimeServed = find[*ntp.Service](d).Served
			return dhcp6.New(h)
		}},
	} {
		svc := &service{fuse: &guard.Fuse{}, stage: s.stage}
		svc.group = guard.New(func(name string, value any, stack []byte) { d.panicked(svc, s.name, name, value, stack) })
		svc.Service = s.make(services.Host{
			Log: d.log.With("service", s.name), Guard: svc.group, Fuse: svc.fuse, Sockets: d.sockets,
			Events: d.events, Nodes: d.nodes, Artifacts: d.artifacts, CA: d.ca, StateDir: d.opt.StateDir, Store: d.store, Leases: d.store, Metrics: d.metrics,
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

// supervise runs Serve of a service until ctx ends or the service is stopped, and starts it again
// within a second when it returns early.
func (d *Daemon) supervise(ctx context.Context, svc *service) {
	ctx, svc.stop = context.WithCancel(ctx)
	// One each: suture's pause holds for all services of a supervisor, and every end prolongs it.
	sup := suture.New(svc.Name(), suture.Spec{
		FailureThreshold: 3, FailureDecay: 1, FailureBackoff: 800 * time.Millisecond, BackoffJitter: suture.NoJitter{}, Timeout: drainFor,
		EventHook: func(e suture.Event) {
			d.log.LogAttrs(ctx, slog.LevelDebug, "supervisor", slog.String("event", e.String()))
		},
	})
	sup.Add(&supervised{svc})
	ended := make(chan struct{})
	svc.ended = ended
	d.guard.Go("supervisor "+svc.Name(), func() {
		defer close(ended)
		_ = sup.Serve(ctx) // ends with ctx, which is no error
		svc.group.Wait()
	})
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
