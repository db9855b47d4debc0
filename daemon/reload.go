package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"helperd/api"
	"helperd/config"
	"helperd/internal/watch"
	"helperd/plan"
	"helperd/timeline"
)

const (
	// shrinkWait is how long a file must stay as it is when much has vanished
	// from it: a truncated file can be valid YAML.
	shrinkWait = 5 * time.Second
	// checkEvery is the time between questions to the services while nothing changes.
	checkEvery = 10 * time.Second
)

// reloadUntil follows the file until ctx ends. It is the only goroutine that changes generations.
func (d *Daemon) reloadUntil(ctx context.Context) {
	var content watch.Content
	d.watcher, content = watch.New(d.opt.ConfigPath, config.MaxSize, d.log)
	contents := make(chan watch.Content)
	d.guard.Loop(ctx, "watch", func(ctx context.Context) error {
		return d.watcher.Run(ctx, d.force, func(c watch.Content) {
			select {
			case contents <- c:
			case <-ctx.Done():
			}
		})
	})
	d.start(ctx, content)
	d.notify("READY=1")
	d.guard.Loop(ctx, "watchdog", d.watchdog)

	d.guard.Loop(ctx, "checks", d.checkAgainAndAgain)

	var held *generation // waits for shrinkWait
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.opt.HUP:
			d.read()
		case c := <-contents:
			d.notifyReloading()
			if held, due = d.consider(ctx, c), nil; held != nil {
				due = time.After(shrinkWait)
			}
			d.notify("READY=1")
		case <-due:
			d.take(ctx, held)
			held, due = nil, nil
		}
		d.notifyStatus()
	}
}

// start applies the first configuration: the file, or the last good one if the file is broken.
func (d *Daemon) start(ctx context.Context, c watch.Content) {
	g, err := d.compileContent(c)
	if err == nil && d.take(ctx, g) {
		return
	}
	if err != nil {
		d.reject(fileState(c), err)
	}
	last, err := d.store.LastGood()
	if err != nil || len(last) == 0 {
		d.log.Error("nothing is served: there is no valid configuration yet", "file", d.opt.ConfigPath)
		return
	}
	if g, err = d.compile(last); err == nil {
		err = d.apply(ctx, g)
	}
	if err != nil {
		d.log.Error("the last good configuration does not apply either", "err", err)
		return
	}
	d.log.Error("THE FILE IS BROKEN: THE LAST GOOD CONFIGURATION IS SERVED", "file", d.opt.ConfigPath)
}

// checkAgainAndAgain asks the services while nothing changes, so that status knows of one that fell silent.
func (d *Daemon) checkAgainAndAgain(ctx context.Context) error {
	for wait := time.Second; ; wait = checkEvery { // soon after the start, when all is up
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		for _, svc := range d.services {
			_ = d.check(ctx, svc, time.Now().Add(time.Second)) // the outcome is kept in svc
		}
		d.notifyStatus()
	}
}

// consider looks at new content of the file. It returns a generation that must wait.
func (d *Daemon) consider(ctx context.Context, c watch.Content) *generation {
	g, err := d.compileContent(c)
	if err != nil {
		d.reject(fileState(c), err)
		return nil
	}
	v := d.view()
	if g.hash == v.status.Hash {
		d.accept(g) // the file is as it was: what was wrong with it is mended
		return nil
	}
	if what := vanished(v.plan, g.plan); what != "" {
		d.log.Warn("much vanished from the file; it is applied in some seconds unless it changes again", "vanished", what)
		d.setState(api.Waiting, nil)
		return g
	}
	d.take(ctx, g)
	return nil
}

// take applies g and notes the outcome; it reports success.
func (d *Daemon) take(ctx context.Context, g *generation) bool {
	if err := d.apply(ctx, g); err != nil {
		d.reject(api.Rejected, err)
		return false
	}
	d.accept(g)
	return true
}

func (d *Daemon) accept(g *generation) {
	d.mu.Lock()
	d.now.status.Warnings = g.warnings
	d.mu.Unlock()
	d.setState(api.Applied, nil)
}

func (d *Daemon) reject(s api.FileState, err error) {
	d.log.Error("configuration not applied; what was served goes on", "file", d.opt.ConfigPath, "err", err)
	d.events.Emit(timeline.Event{Kind: timeline.ConfigRejected, Detail: err.Error()})
	d.setState(s, err)
}

func (d *Daemon) compileContent(c watch.Content) (*generation, error) {
	if c.Err != nil {
		if errors.Is(c.Err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s does not exist; write it, or start helperd with --config FILE", d.opt.ConfigPath)
		}
		return nil, c.Err
	}
	return d.compile(c.Bytes)
}

func fileState(c watch.Content) api.FileState {
	if c.Err != nil {
		return api.Missing
	}
	return api.Broken
}

// vanished says what a person would not take away lightly: masters, a
// cluster, or a fifth of the nodes.
func vanished(old, next *plan.Plan) string {
	if old == nil {
		return ""
	}
	var gone []string
	var masters int
	for _, n := range old.Nodes {
		if next.NodeByName(n.FQDN) == nil {
			gone = append(gone, n.Name)
			if n.Role == plan.Master {
				masters++
			}
		}
	}
	if masters > 0 || len(gone) > 1 && 5*len(gone) >= len(old.Nodes) || len(next.Clusters) < len(old.Clusters) {
		return strings.Join(gone, ", ")
	}
	return ""
}

// read makes the watcher read the file now.
func (d *Daemon) read() {
	select {
	case d.force <- struct{}{}:
	default: // one is due already
	}
}
