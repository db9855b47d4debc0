package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"helperd/api"
	"helperd/config"
	"helperd/daemon"
	"helperd/ghost"
	"helperd/internal/guard"
)

// Options of a demonstration.
type Options struct {
	Version string
	Out     io.Writer
	JSON    bool // one JSON object a line in place of text
	Keep    bool // go on after all are up, until ctx ends

	spoil    func(*site) // changes the files before anything reads them
	patience time.Duration
	brief    bool // ends when the first machines are up
	standIns bool // also where the machine has real boot loaders
}

// longest is how long all nodes together may take.
const longest = 3 * time.Minute

// Run boots the example's cluster. It must run in a network namespace that
// Enter made. The error says which nodes did not come up, and why.
func Run(ctx context.Context, opt Options) error {
	if err := ownNamespace(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "helperd-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := newSite(dir, opt.standIns)
	if err != nil {
		return fmt.Errorf("make the demonstration's files: %w", err)
	}
	if opt.spoil != nil {
		opt.spoil(s)
	}
	d := &demo{Options: opt, site: s, show: newShow(opt), client: api.NewClient(s.socketPath())}
	d.guard = guard.New(func(name string, value any, stack []byte) {
		d.show.note("panic in %s: %v\n%s", name, value, stack)
	})
	err = d.run(ctx)
	if err != nil {
		d.show.tail(s.logPath())
	}
	return err
}

// demo is one demonstration.
type demo struct {
	Options
	*site
	show   *show
	guard  *guard.Group
	client *api.Client
	fleet  fleet
}

func (d *demo) run(ctx context.Context) error {
	network := d.cfg.Networks[0]
	if err := buildLAN(netip.PrefixFrom(d.cfg.Helper.Address, network.CIDR.Bits())); err != nil {
		return err
	}
	outside, err := newInternet(d.guard, netip.PrefixFrom(network.Gateway, network.CIDR.Bits()))
	if err != nil {
		return fmt.Errorf("build the network outside: %w", err)
	}
	defer outside.close()
	stop, err := d.startDaemon(ctx)
	if err != nil {
		return err
	}
	defer stop()
	defer d.fleet.close()

	patience := cmp.Or(d.patience, longest)
	limited, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not done after %s", patience))
	defer cancel()
	err = d.play(limited)
	if table := d.table(ctx); err == nil {
		err = table
	}
	if err == nil && d.Keep {
		d.show.note("all stays up until Ctrl-C; from another terminal: helperd nodes --socket %s; edit %s", d.socketPath(), d.configPath())
		<-ctx.Done()
	}
	return err
}

// play is what the demonstration shows.
func (d *demo) play(ctx context.Context) error {
	var first, rest []config.Node
	for _, n := range d.cfg.Clusters[0].Nodes {
		if n.Role == string(ghost.Bootstrap) {
			first = append(first, n)
		} else {
			rest = append(rest, n)
		}
	}
	d.show.note("bootstrap is switched on")
	if err := d.fleet.boot(ctx, d, first); err != nil {
		return err
	}
	d.show.note("%d more machines are switched on; where they need bootstrap they wait for the balancer, which wants three good answers in a row", len(rest))
	if err := d.fleet.boot(ctx, d, rest); err != nil {
		return err
	}
	if d.brief {
		return nil
	}
	if err := d.addLive(ctx); err != nil {
		return err
	}
	return d.takeover(ctx)
}

// addLive adds a worker to the file of the running daemon and boots it, with a
// connection open that a restart of anything would cut.
func (d *demo) addLive(ctx context.Context) error {
	before, err := d.client.Status(ctx)
	if err != nil {
		return err
	}
	balancer := netip.AddrPortFrom(d.cfg.Helper.Address, 6443)
	witness := d.fleet.last()
	tunnel, err := witness.Hold(ctx, balancer)
	if err != nil {
		return fmt.Errorf("open a connection to the API: %w", err)
	}
	defer tunnel.Close()
	server, err := tunnel.Ask()
	if err != nil {
		return fmt.Errorf("use the connection to the API: %w", err)
	}
	d.show.note("%s holds a connection to the API, through the balancer, to %s", witness.Name, server)

	worker, err := d.addWorker()
	if err != nil {
		return err
	}
	d.show.note("the file gets one more line, %s, and nothing is told or restarted", worker.Name)
	if err := d.applied(ctx, before.Generation+1); err != nil {
		return err
	}
	if err := d.fleet.boot(ctx, d, []config.Node{*worker}); err != nil {
		return err
	}
	after, err := d.client.Status(ctx)
	if err != nil {
		return err
	}
	again, err := tunnel.Ask()
	if err != nil {
		return fmt.Errorf("the connection to the API was cut when %s was added: %w", worker.Name, err)
	}
	if again != server || !after.Started.Equal(before.Started) {
		return errors.New("something was restarted when a worker was added")
	}
	d.show.note("%s's connection is still open and answered by %s; generation %d became %d", witness.Name, again, before.Generation, after.Generation)
	return nil
}

// startDaemon starts the real daemon and waits until it serves. Stop ends it.
func (d *demo) startDaemon(ctx context.Context) (stop func(), err error) {
	logs, err := os.Create(d.logPath())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	d.guard.Go("daemon", func() {
		err := errors.New("panic")
		defer func() { ended <- err }()
		err = daemon.Run(ctx, daemon.Options{
			ConfigPath: d.configPath(), StateDir: d.dir + "/state", SocketPath: d.socketPath(), Version: d.Version,
			Log: slog.New(slog.NewTextHandler(logs, nil)),
		})
	})
	stop = func() {
		cancel()
		<-ended
		_ = logs.Close()
	}
	err = d.applied(ctx, 1)
	select {
	case early := <-ended:
		cancel()
		return nil, fmt.Errorf("the daemon ended: %w", early)
	default:
	}
	if err != nil {
		stop()
		return nil, err
	}
	return stop, d.healthy(ctx)
}

// applied waits until the daemon serves the generation.
func (d *demo) applied(ctx context.Context, generation uint64) error {
	const patience, pause = 10 * time.Second, 20 * time.Millisecond
	var last error
	for range patience / pause {
		status, err := d.client.Status(ctx)
		switch {
		case err != nil:
			last = err
		case status.Generation >= generation && status.Configuration.State == api.Applied:
			return nil
		default:
			last = fmt.Errorf("generation is %d, the file is %s %v", status.Generation, status.Configuration.State, status.Configuration.Errors)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return fmt.Errorf("the daemon does not serve the file after %s: %w", patience, last)
}

// healthy waits a moment until every service does its work, and tells what is
// served. A service with a problem is told of and no end: the machines will
// show what comes of it.
func (d *demo) healthy(ctx context.Context) error {
	const patience, pause = 2 * time.Second, 50 * time.Millisecond
	var problem error
	for range patience / pause {
		status, err := d.client.Status(ctx)
		if err != nil {
			return err
		}
		if problem = ailing(status.Services); problem == nil {
			d.show.note("helperd serves %s at %s, in a network of its own", names(status.Services), d.cfg.Helper.Address)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	d.show.note("helperd serves at %s, not without problems: %v", d.cfg.Helper.Address, problem)
	return nil
}

// ailing says which service does not do its work, and why.
func ailing(services []api.Service) error {
	for _, s := range services {
		if s.Problem != "" {
			return fmt.Errorf("service %s: %s", s.Name, s.Problem)
		}
	}
	return nil
}
