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
	"helperd/nodes"
	"helperd/plan"
	"helperd/timeline"
)

// shrinkWait is how long a file must stay as it is when much has vanished from
// it: a truncated file can be valid YAML. It is also the time between attempts to
// serve a first configuration.
const shrinkWait = 5 * time.Second

// reloadUntil follows the file until ctx ends, or gives the path of the program to go on as. It is
// the only goroutine that changes generations.
func (d *Daemon) reloadUntil(ctx context.Context) (next string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher, content := watch.New(d.opt.ConfigPath, config.MaxSize, d.log)
	contents := make(chan watch.Content)
	d.guard.Loop(ctx, "watch", func(ctx context.Context) error {
		return watcher.Run(ctx, func(c watch.Content) {
			select {
			case contents <- c:
			case <-ctx.Done():
			}
		})
	})
	var due, again <-chan time.Time
	held := d.start(ctx, content) // waits until due
	if held != nil {
		due = time.After(d.holdFor)
	}
	d.notifyStatus()
	d.notify("READY=1")
	d.guard.Loop(ctx, "watchdog", d.watchdog)
	d.guard.Loop(ctx, "node evidence", d.nodes.Probe)
	d.guard.Loop(ctx, "checks", d.checkAgainAndAgain)

	latest := content.Look
	look := func(c watch.Content) {
		if c.Look < latest {
			return // read before, and delivered after, one that somebody asked for
		}
		latest = c.Look
		d.notifyReloading()
		if held, due = d.consider(ctx, c), nil; held != nil {
			due = time.After(d.holdFor)
		}
		d.notifyStatus()
		d.notify("READY=1")
	}
	for {
		select {
		case <-ctx.Done():
			return ""
		case next := <-d.upgrades:
			return next
		case <-d.opt.HUP:
			look(watcher.Look())
		case reply := <-d.asked:
			look(watcher.Look())
			reply <- d.complaint()
		case c := <-contents:
			look(c)
		case <-d.artifacts.Changed():
			again = d.refresh(ctx)
		case <-again:
			again = d.refresh(ctx)
		case <-due:
			if d.takeHeld(ctx, held) || d.view().plan != nil {
				held, due = nil, nil
			} else {
				due = time.After(d.holdFor)
			}
			d.notifyStatus()
		}
	}
}

// refresh derives the plan that is served anew: a stream was read, or a version
// of an artifact is whole. If that cannot be applied now it gives when to try again.
func (d *Daemon) refresh(ctx context.Context) (again <-chan time.Time) {
	v := d.view()
	if v.plan == nil {
		return nil
	}
	g, err := d.compile(v.bytes)
	if err == nil {
		err = d.renew(ctx, g)
	}
	if err != nil {
		d.log.Error("what is new of artifacts is not served yet", "err", summary(strings.Split(err.Error(), "\n")))
		return time.After(d.holdFor)
	}
	d.mu.Lock()
	d.now.status.Warnings = g.warnings
	d.mu.Unlock()
	d.notifyStatus()
	return nil
}

// renew makes what is served follow g, whose file is served already. The lines of
// the plan leave out what only the artifacts see, such as the query of a URL.
func (d *Daemon) renew(ctx context.Context, g *generation) error {
	if len(plan.Diff(d.view().plan, g.plan)) > 0 {
		return d.apply(ctx, g)
	}
	d.artifacts.Apply(g.plan)
	return nil
}

// installing reports whether a node is in the middle of an installation that it began before t.
func (d *Daemon) installing(t time.Time) bool {
	p := d.view().plan
	if p == nil {
		return false
	}
	for _, n := range p.Nodes {
		if s := d.nodes.State(n); s.Phase == nodes.Installing && s.Decided.Before(t) {
			return true
		}
	}
	return false
}

// complaint says what is wrong with the file, as people see it.
func (d *Daemon) complaint() error {
	if lines := d.view().status.Errors; len(lines) > 0 {
		return errors.New(strings.Join(lines, "\n"))
	}
	return nil
}

// start applies the first configuration: the file, or the last good one if the
// file is broken. When nothing is served because the services cannot take the file, what keeps
// them from it may pass: start returns the generation, to be tried again.
func (d *Daemon) start(ctx context.Context, c watch.Content) (again *generation) {
	again, err := d.compileContent(c)
	if err == nil && d.take(ctx, again) {
		return nil
	}
	if err != nil {
		d.reject(fileState(c), err)
	}
	last, err := d.store.LastGood()
	if err != nil || len(last) == 0 {
		d.log.Error("nothing is served: there is no valid configuration yet", "file", d.opt.ConfigPath)
		return again
	}
	g, err := d.compile(last)
	if err == nil {
		err = d.apply(ctx, g)
	}
	if err != nil {
		d.log.Error("the last good configuration does not apply either", "err", err)
		return again
	}
	d.log.Error("THE FILE IS BROKEN: THE LAST GOOD CONFIGURATION IS SERVED", "file", d.opt.ConfigPath)
	return nil
}

// consider looks at new content of the file. It returns a generation that must
// wait: for whether the file stays as small as it is, or for another attempt.
func (d *Daemon) consider(ctx context.Context, c watch.Content) *generation {
	g, err := d.compileContent(c)
	if err != nil {
		d.reject(fileState(c), err)
		return nil
	}
	v := d.view()
	if g.hash == v.status.Hash { // what was wrong with the file is mended, or the machine has another boot loader
		d.conclude(g, d.renew(ctx, g))
		return nil
	}
	if what := vanished(v.plan, g.plan); what != "" {
		d.log.Warn("much vanished from the file; it is applied in some seconds unless it changes again", "vanished", what)
		d.setState(api.Waiting, nil)
		return g
	}
	if !d.take(ctx, g) && v.plan == nil {
		return g
	}
	return nil
}

// take applies g and notes the outcome; it reports success.
func (d *Daemon) take(ctx context.Context, g *generation) bool {
	return d.conclude(g, d.apply(ctx, g))
}

// takeHeld takes g, which has waited: what its plan follows from may be another now.
func (d *Daemon) takeHeld(ctx context.Context, g *generation) bool {
	g, err := d.compile(g.bytes)
	if err != nil {
		d.reject(api.Broken, err)
		return false
	}
	return d.take(ctx, g)
}

// conclude notes how applying g ended; it reports success.
func (d *Daemon) conclude(g *generation, err error) bool {
	if err != nil {
		d.reject(api.Rejected, err)
		return false
	}
	d.mu.Lock()
	d.now.status.Warnings = g.warnings
	d.mu.Unlock()
	d.setState(api.Applied, nil)
	return true
}

func (d *Daemon) reject(s api.FileState, err error) {
	text := summary(strings.Split(err.Error(), "\n")) // status and `helperd check` have it whole
	d.log.Error("configuration not applied; what was served goes on", "file", d.opt.ConfigPath, "err", text)
	d.events.Emit(timeline.Event{Kind: timeline.ConfigRejected, Detail: text})
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
	if masters > 0 || len(gone) > 0 && 5*len(gone) >= len(old.Nodes) || len(next.Clusters) < len(old.Clusters) {
		return strings.Join(gone, ", ")
	}
	return ""
}
