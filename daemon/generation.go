package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"helperd/boot"
	"helperd/config"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

// generation is one configuration on its way through the daemon: the bytes as
// they were read once, and what follows from them.
type generation struct {
	bytes    []byte
	hash     string
	plan     *plan.Plan
	warnings []string
}

// compile validates b and derives its plan. The error has a line for each
// mistake. A panic on the way is an error too: no file may end the daemon.
func (d *Daemon) compile(b []byte) (g *generation, err error) {
	if bad := d.guard.Run("compile", func() { g, err = d.derive(b) }); bad != nil {
		return nil, fmt.Errorf("%s: %w; this is a mistake in helperd: please report it with the file", d.opt.ConfigPath, bad)
	}
	return g, err
}

func (d *Daemon) derive(b []byte) (*generation, error) {
	cfg, diags := config.Load(b)
	if diags.HasErrors() {
		return nil, d.mistakes(diags)
	}
	serial, err := d.store.NextSerial(time.Now())
	if err != nil {
		// A full disk must not keep a change from being applied: the clock alone still rises.
		d.log.Error("zone serial not stored", "err", err)
		serial = uint32(time.Now().Unix())
	}
	facts := plan.Facts{Serial: serial, MissingLoaders: boot.MissingLoaders(boot.FindLoaders(cfg.TFTP.Root)), StateDir: d.opt.StateDir}
	d.artifacts.Facts(&facts, plan.StreamSources(cfg))
	p, more := plan.Compile(cfg, facts)
	diags = append(diags, more...).Sort()
	if diags.HasErrors() {
		return nil, d.mistakes(diags)
	}
	sum := sha256.Sum256(b)
	g := &generation{bytes: b, hash: hex.EncodeToString(sum[:]), plan: p}
	for _, w := range diags {
		g.warnings = append(g.warnings, d.opt.ConfigPath+":"+w.String())
	}
	return g, nil
}

func (d *Daemon) mistakes(diags config.Diagnostics) error {
	var lines []error
	for _, m := range diags.Sort() {
		if m.Severity == config.Error {
			lines = append(lines, errors.New(d.opt.ConfigPath+":"+m.String()))
		}
	}
	return errors.Join(lines...)
}

// apply makes g what is served, or leaves or brings back what is served now and says why.
func (d *Daemon) apply(ctx context.Context, g *generation) error {
	old, answered := d.view().plan, d.answering()
	served, err := d.commit(ctx, g.plan)
	if !served {
		return err
	}
	if err == nil {
		err = d.verify(ctx, answered)
	}
	if err != nil && old != nil && ctx.Err() == nil {
		if _, back := d.commit(ctx, old); back != nil {
			return errors.Join(err, fmt.Errorf("going back to the configuration before: %w", back))
		}
		_ = d.verify(ctx, answered) // the outcome is kept in the services
		return errors.Join(err, errors.New("the configuration before is served again"))
	}
	changes := plan.Diff(old, g.plan)
	d.mu.Lock()
	d.now.plan, d.now.bytes = g.plan, g.bytes
	d.now.generation++
	d.now.status.Hash, d.now.status.Applied = g.hash, time.Now()
	generation := d.now.generation
	d.mu.Unlock()
	d.artifacts.Apply(g.plan)
	d.sockets.Settle()
	if err := d.store.SetLastGood(g.bytes); err != nil {
		d.log.Error("last good configuration not stored", "err", err)
	}
	d.log.Info("configuration applied", "generation", generation, "nodes", len(g.plan.Nodes), "changes", len(changes))
	d.events.Emit(timeline.Event{Kind: timeline.ConfigApplied, Detail: summary(changes)})
	for _, u := range g.plan.Unserved {
		d.log.Warn("part of the file is not served by this version", "key", u.Service, "reason", u.Reason)
	}
	for _, w := range g.warnings {
		d.log.Warn("configuration", "warning", w)
	}
	return nil
}

func summary(changes []string) string {
	const most = 5
	if len(changes) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(changes[:most], "; "), len(changes)-most)
	}
	return strings.Join(changes, "; ")
}

// commit takes every service to p, or none: then nothing has changed. An error
// although p is served names the services that panicked on the way.
func (d *Daemon) commit(ctx context.Context, p *plan.Plan) (served bool, err error) {
	changes := make([]services.Change, len(d.services))
	var errs []error
	for i, svc := range d.services {
		var err error
		if bad := svc.group.Run("prepare", func() { changes[i], err = svc.Prepare(ctx, p) }); bad != nil {
			err = bad
		}
		if err != nil {
			changes[i] = nil
			errs = append(errs, fmt.Errorf("%s: %w", svc.Name(), err))
		}
	}
	if len(errs) > 0 {
		for i, svc := range d.services {
			if changes[i] != nil {
				_ = svc.group.Run("discard", changes[i].Discard) // a panic is reported by the group
			}
		}
		return false, errors.Join(errs...)
	}
	d.events.Apply(p)
	d.nodes.Apply(ctx, p)
	for i, svc := range d.services {
		if bad := svc.group.Run("commit", changes[i].Commit); bad != nil {
			errs = append(errs, fmt.Errorf("%s: %w", svc.Name(), bad))
		}
	}
	return true, errors.Join(errs...)
}
