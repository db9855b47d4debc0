package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
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

// compile validates b and derives its plan. The error has a line for each mistake.
func (d *Daemon) compile(b []byte) (*generation, error) {
	serial, err := d.store.NextSerial(time.Now())
	if err != nil {
		// A full disk must not keep a change from being applied: the clock alone still rises.
		d.log.Error("zone serial not stored", "err", err)
		serial = uint32(time.Now().Unix())
	}
	cfg, diags := config.Load(b)
	if diags.HasErrors() {
		return nil, d.mistakes(diags)
	}
	p, more := plan.Compile(cfg, plan.Facts{Serial: serial, MissingLoaders: boot.MissingLoaders(boot.FindLoaders(cfg.TFTP.Root))})
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
	old := d.view().plan
	if err := d.commit(ctx, g.plan); err != nil {
		return err
	}
	silent := d.verify(ctx)
	if len(silent) > 0 && old != nil && ctx.Err() == nil {
		err := fmt.Errorf("%s answered before this change and not after it; the configuration before is served again", strings.Join(silent, ", "))
		if back := d.commit(ctx, old); back != nil {
			return errors.Join(err, fmt.Errorf("going back: %w", back))
		}
		d.verify(ctx)
		return err
	}
	changes := plan.Diff(old, g.plan)
	d.mu.Lock()
	d.now.plan = g.plan
	d.now.generation++
	d.now.status.Hash, d.now.status.Applied = g.hash, time.Now()
	generation := d.now.generation
	d.mu.Unlock()
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

// commit takes every service to p, or none.
func (d *Daemon) commit(ctx context.Context, p *plan.Plan) error {
	var changes []services.Change
	var errs []error
	for _, svc := range d.services {
		var c services.Change
		var err error
		if bad := svc.group.Run("prepare", func() { c, err = svc.Prepare(ctx, p) }); bad != nil {
			err = bad
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", svc.Name(), err))
			continue
		}
		changes = append(changes, c)
	}
	if len(errs) > 0 {
		for _, c := range changes {
			c.Discard()
		}
		return errors.Join(errs...)
	}
	d.events.Apply(p)
	for _, c := range changes {
		c.Commit()
	}
	return nil
}

// verify asks every service over the wire. It gives the names of those that
// answered before and do not within two seconds. One that never answered is not waited for.
func (d *Daemon) verify(ctx context.Context) (silent []string) {
	deadline := time.Now().Add(2 * time.Second)
	var waiting []*service
	for _, svc := range d.services {
		answered, patience := svc.answered.Load(), deadline
		if !answered {
			patience = time.Now().Add(100 * time.Millisecond)
		}
		if d.check(ctx, svc, patience) != nil && answered {
			waiting = append(waiting, svc)
		}
	}
	for len(waiting) > 0 && time.Now().Before(deadline) && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
		waiting = slices.DeleteFunc(waiting, func(svc *service) bool { return d.check(ctx, svc, deadline) == nil })
	}
	for _, svc := range waiting {
		svc.answered.Store(false)
		silent = append(silent, svc.Name())
	}
	return silent
}

// check asks one service and keeps the outcome.
func (d *Daemon) check(ctx context.Context, svc *service, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var err error
	if bad := svc.group.Run("check", func() { err = svc.Check(ctx) }); bad != nil {
		err = bad
	}
	if err != nil {
		text := err.Error()
		svc.lastError.Store(&text)
		return err
	}
	svc.answered.Store(true)
	svc.lastError.Store(nil)
	return nil
}
