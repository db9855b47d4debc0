package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"helperd/api"
	"helperd/artifacts"
	"helperd/ca"
	"helperd/internal/guard"
	"helperd/internal/socket"
	"helperd/nodes"
	"helperd/services/lb"
	"helperd/state"
	"helperd/timeline"
)

// Options say where the daemon finds its things.
type Options struct {
	ConfigPath string // the one file, such as /etc/helper.yaml
	StateDir   string // such as /var/lib/helperd
	SocketPath string // of the admin API, such as /run/helperd/helperd.sock
	Version    string
	Log        *slog.Logger
	HUP        <-chan os.Signal // reads the file now; nil: never
	// TestHooks lets the API make a service panic.
	TestHooks bool
}

// drainFor is how long open transfers and connections of a stage may go on after a
// stop. Services have shorter times of their own.
const drainFor = 5 * time.Second

// Daemon is the running helper node.
type Daemon struct {
	opt       Options
	log       *slog.Logger
	started   time.Time
	guard     *guard.Group
	store     *state.Store
	events    *timeline.Timeline
	nodes     *nodes.Registry
	artifacts *artifacts.Store
	ca        *ca.Authority
	sockets   *socket.Table
	metrics   *prometheus.Registry
	services  []*service // in the order of Commit

	holdFor time.Duration // shrinkWait; tests wait less

	asked    chan chan<- error // by people: read the file now and say what is wrong with it
	upgrades chan string       // the program to go on as

	mu  sync.Mutex
	now view // what people see; guarded by mu
}

// collectAt is GOGC. The heap is small, and most of it lives long: leases, zones and tables. With less than half
// the usual room for garbage 64,000 leases take 30 MB and not 36; HTTP pays 1 % of its CPU for it.
const collectAt = 40

// Run serves until ctx ends, then drains and returns nil. It returns an error
// when it cannot even start: no state folder, no admin socket.
func Run(ctx context.Context, opt Options) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	// The balancer's workers block outside of the scheduler: see lb.Workers.
	runtime.GOMAXPROCS(runtime.NumCPU() + lb.Workers())
	d, err := newDaemon(opt)
	if err != nil {
		return err
	}
	defer d.close()
	d.addServices()
	d.inherit()
	admin, err := d.listenAdmin()
	if err != nil {
		return err
	}
	return d.serve(ctx, admin)
}

// newDaemon gives a daemon without services.
func newDaemon(opt Options) (*Daemon, error) {
	path, err := filepath.Abs(opt.ConfigPath)
	if err != nil {
		return nil, err
	}
	opt.ConfigPath = path
	if opt.StateDir, err = filepath.Abs(opt.StateDir); err != nil {
		return nil, err
	}
	d := &Daemon{opt: opt, log: opt.Log, started: time.Now(), holdFor: shrinkWait, asked: make(chan chan<- error), upgrades: make(chan string), metrics: prometheus.NewRegistry(), ca: ca.New(opt.StateDir, time.Now)}
	d.now.status.Path = path
	if d.store, err = state.Open(opt.StateDir); err != nil {
		return nil, err
	}
	d.events = timeline.New(time.Now)
	if d.nodes, err = nodes.New(d.store, d.events, d.log, time.Now); err != nil {
		_ = d.store.Close()
		return nil, err
	}
	d.guard = guard.New(func(name string, value any, stack []byte) {
		d.log.Error("panic", "goroutine", name, "err", value, "stack", string(stack))
	})
	d.artifacts = artifacts.Open(artifacts.Options{
		Dir: filepath.Join(opt.StateDir, "artifacts"), Version: opt.Version, Log: d.log.With("service", "artifacts"),
		Events: d.events, Guard: d.guard, Metrics: d.metrics, Busy: d.installing,
	})
	d.sockets = socket.NewTable(d.guard, d.log)
	d.describeMetrics()
	return d, nil
}

func (d *Daemon) close() {
	d.sockets.Close()
	_ = d.store.Close()
}

// serve runs the parts and ends them in the right order: first no new work, then what is open drains.
func (d *Daemon) serve(ctx context.Context, admin *adminServer) error {
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	for _, svc := range d.services {
		d.supervise(working, svc)
	}
	d.guard.Go("admin", admin.serve)
	d.guard.Loop(working, "artifacts", d.artifacts.Serve)

	next := d.reloadUntil(ctx)

	if next == "" {
		d.notify("STOPPING=1")
		d.log.Info("stopping", "drain", drainFor)
	} else {
		d.notifyReloading()
		d.notify("STATUS=going on as another program")
		d.log.Info("upgrading", "path", next)
	}
	d.stop(downloads)
	d.stop(answers)
	admin.close()
	if next != "" && ctx.Err() == nil {
		return d.replace(ctx, next)
	}
	d.stop(tunnels)
	return nil
}

// stop ends the services of a stage.
func (d *Daemon) stop(s stage) {
	for _, svc := range d.services {
		if svc.stage == s {
			svc.stop()
		}
	}
	late := time.NewTimer(drainFor)
	defer late.Stop()
	for _, svc := range d.services {
		if svc.stage != s {
			continue
		}
		select {
		case <-svc.ended:
		case <-late.C:
			d.log.Warn("some connections were still open", "service", svc.Name())
			return
		}
	}
}

func (d *Daemon) describeMetrics() {
	gauge := func(name, help string, value func() float64) {
		d.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("helperd_config_generation", "Applied configurations since the start.", func() float64 { return float64(d.view().generation) })
	gauge("helperd_config_valid", "1 while the file is what is served.", func() float64 {
		if d.view().status.State == api.Applied {
			return 1
		}
		return 0
	})
	gauge("helperd_config_applied_timestamp_seconds", "When the configuration was applied.", func() float64 { return float64(d.view().status.Applied.Unix()) })
}

func nodeCount(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}
