package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helperd/internal/guard"
)

const (
	// checkEvery is the time between questions to the services while nothing changes.
	checkEvery = 10 * time.Second
	// checkTime is how long a service may take to answer one of these.
	checkTime = time.Second
	// verifyTime is how long after a Commit a service may be silent that answered before.
	verifyTime = 2 * time.Second
	// firstTime is how long a change waits for a service that did not answer before either.
	firstTime = 100 * time.Millisecond
)

// checkAgainAndAgain asks the services while nothing changes, so that status knows of one that fell silent.
func (d *Daemon) checkAgainAndAgain(ctx context.Context) error {
	for wait := time.Second; ; wait = checkEvery { // soon after the start, when all is up
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		d.ask(ctx, func(*service) time.Duration { return checkTime })
		if ctx.Err() == nil {
			d.notifyStatus()
		}
	}
}

// answering gives the services that answered when they were asked last.
func (d *Daemon) answering() map[*service]bool {
	out := map[*service]bool{}
	for _, svc := range d.services {
		out[svc] = svc.answered.Load()
	}
	return out
}

// verify asks every service over the wire. The error names those that answered
// before and do not now. One that did not is hardly waited for.
func (d *Daemon) verify(ctx context.Context, before map[*service]bool) error {
	var silent []error
	said := d.ask(ctx, func(svc *service) time.Duration {
		if before[svc] {
			return verifyTime
		}
		return firstTime
	})
	for i, svc := range d.services {
		if before[svc] && said[i] != nil {
			silent = append(silent, fmt.Errorf("%s answered before this change and not after it: %w", svc.Name(), said[i]))
		}
	}
	return errors.Join(silent...)
}

// ask asks all services at once, each again until it answers or its patience is
// spent, and keeps the outcome. It gives what went wrong, in the order of the services.
func (d *Daemon) ask(ctx context.Context, patience func(*service) time.Duration) []error {
	said := make([]error, len(d.services))
	asking := guard.New(nil)
	for i, svc := range d.services {
		asking.Go("ask "+svc.Name(), func() {
			said[i] = svc.await(ctx, patience(svc))
		})
	}
	asking.Wait()
	return said
}

// await asks the service until it answers, at most for d.
func (s *service) await(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		var err error
		if bad := s.group.Run("check", func() { err = s.Check(ctx) }); bad != nil {
			err = bad
			cancel() // it would panic again
		}
		if err == nil {
			s.answered.Store(true)
			s.lastError.Store(nil)
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			text := err.Error()
			s.answered.Store(false)
			s.lastError.Store(&text)
			return err
		}
	}
}
