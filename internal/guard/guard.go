// Package guard is the only place that starts goroutines. A panic in one
// packet must not end all services: it is caught, reported with its stack, and
// the rest goes on.
package guard

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Report is told of every panic: the name of the goroutine, the value and the stack.
type Report func(name string, value any, stack []byte)

// A Group owns goroutines: it starts them, reports their panics and waits for them.
type Group struct {
	report Report
	wg     sync.WaitGroup
	panics atomic.Uint64
}

// New gives a group that tells report of panics; nil tells nobody.
func New(report Report) *Group {
	if report == nil {
		report = func(string, any, []byte) {}
	}
	return &Group{report: report}
}

// Go runs fn once in a goroutine. A panic ends the goroutine, not the process.
func (g *Group) Go(name string, fn func()) {
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		_ = g.Run(name, fn)
	}()
}

// Loop runs fn in a goroutine until it returns nil or ctx ends. After a panic
// or an error it runs again, at once the first time and within a second always.
// The channel is closed when it does not run again.
func (g *Group) Loop(ctx context.Context, name string, fn func(context.Context) error) <-chan struct{} {
	done := make(chan struct{})
	g.Go(name, func() {
		defer close(done)
		g.repeat(ctx, name, fn)
	})
	return done
}

func (g *Group) repeat(ctx context.Context, name string, fn func(context.Context) error) {
	const longest = 800 * time.Millisecond
	wait := time.Duration(0)
	for ctx.Err() == nil {
		started := time.Now()
		var err error
		if p := g.Run(name, func() { err = fn(ctx) }); p == nil && err == nil {
			return
		}
		if time.Since(started) > 10*time.Second {
			wait = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(max(2*wait, 10*time.Millisecond), longest)
	}
}

// Run calls fn in the caller's goroutine. It returns an error for a panic, after it was reported.
func (g *Group) Run(name string, fn func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			g.panics.Add(1)
			g.report(name, v, debug.Stack())
			err = fmt.Errorf("%s: panic: %v", name, v)
		}
	}()
	fn()
	return nil
}

// After runs fn once after d, unless ctx ends before.
func (g *Group) After(ctx context.Context, d time.Duration, name string, fn func()) {
	g.Go(name, func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-t.C:
			fn()
		}
	})
}

// Panics is how many panics were caught.
func (g *Group) Panics() uint64 { return g.panics.Load() }

// Wait waits until every goroutine of the group has ended.
func (g *Group) Wait() { g.wg.Wait() }

// A Fuse lets a test make a handler panic. Handlers call Check once a packet
// or batch; it costs one atomic load.
type Fuse struct{ armed atomic.Bool }

// Arm makes the next Check panic.
func (f *Fuse) Arm() { f.armed.Store(true) }

// Check panics once after Arm.
func (f *Fuse) Check() {
	if f.armed.Load() && f.armed.CompareAndSwap(true, false) {
		panic("test hook")
	}
}
