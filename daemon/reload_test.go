package daemon

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"helperd/api"
	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services"
)

// A service that fell silent long before a change is no reason to refuse the change.
func TestSilenceBeforeTheChangeDoesNotGoBack(t *testing.T) {
	t.Parallel()
	h := start(t, t.TempDir(), six, nil)
	two := h.services[1]
	if !two.answered.Load() {
		t.Fatal("the service never answered")
	}
	h.two.set(func(f *fake) { f.broken = func(*plan.Plan) bool { return true } })
	h.ask(t.Context(), func(*service) time.Duration { return firstTime }) // as the periodic check does
	h.write(t, six+oneMore)
	if v := h.await(t, "the new node", func(v view) bool { return v.status.State == api.Rejected || v.generation == 2 }); v.generation != 2 {
		t.Errorf("refused: %q", v.status.Errors)
	}
}

// Of two services, the one that still answers is not blamed for the other's silence.
func TestOnlyTheSilentServiceIsBlamed(t *testing.T) {
	t.Parallel()
	h := start(t, t.TempDir(), six, nil)
	h.one.set(func(f *fake) { f.hangs = func(p *plan.Plan) bool { return len(p.Nodes) == 6 } })
	h.write(t, six+oneMore)
	v := h.await(t, "the way back", func(v view) bool { return v.status.State == api.Rejected })
	if text := strings.Join(v.status.Errors, "\n"); !strings.Contains(text, "one answered before") || strings.Contains(text, "two") {
		t.Errorf("errors %q", v.status.Errors)
	}
}

// A panic in Commit takes nobody down, and what worked is served again.
func TestPanicInCommitGoesBack(t *testing.T) {
	t.Parallel()
	h := start(t, t.TempDir(), six, nil)
	h.one.set(func(f *fake) { f.panicsAt = 6 })
	h.write(t, six+oneMore)
	v := h.await(t, "the way back", func(v view) bool { return v.status.State == api.Rejected })
	if v.generation != 1 || h.nodesServed(h.one) != 5 || h.nodesServed(h.two) != 5 {
		t.Errorf("generation %d, %d and %d nodes served", v.generation, h.nodesServed(h.one), h.nodesServed(h.two))
	}
	if !strings.Contains(v.status.Errors[0], "one: ") {
		t.Errorf("errors %q do not name the service", v.status.Errors)
	}
}

// A file on which the loader panics is a broken file and no more.
func TestPanicWhileLoading(t *testing.T) {
	h := start(t, t.TempDir(), six, nil)
	h.stop()
	h.store = nil // makes compile panic
	if _, err := h.compile([]byte(six)); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("err = %v", err)
	}
}

// The answer to a reload is about the file as it is now, not about what is being applied meanwhile.
func TestReloadAnswersForTheLatestFile(t *testing.T) {
	t.Parallel()
	h := start(t, t.TempDir(), six, nil)
	entered, gate := make(chan struct{}, 10), make(chan struct{})
	h.one.set(func(f *fake) { f.preparing = func() { entered <- struct{}{}; <-gate } })
	h.write(t, six+oneMore)
	<-entered
	h.write(t, "version: 2\n")
	answer := make(chan error)
	go func() { answer <- (backend{h.Daemon}).Reload() }()
	time.Sleep(50 * time.Millisecond) // Reload waits for its turn
	close(gate)
	if err := <-answer; err == nil {
		t.Error("a broken file was reloaded without an error")
	}
}

// What kept the services from starting may pass, as a device that comes late does.
func TestFirstConfigurationIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := start(t, t.TempDir(), six, func(h *house) { h.one.refuse = errors.New("no such device") })
	if v := h.view(); v.status.State != api.Rejected || v.plan != nil {
		t.Fatalf("file %s", v.status.State)
	}
	if err := (backend{h.Daemon}).Reload(); err == nil || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("reload: %v", err)
	}
	h.one.set(func(f *fake) { f.refuse = nil })
	h.await(t, "the first configuration", func(v view) bool { return v.generation == 1 && v.status.State == api.Applied })
}

// dying is a service that ends at once, again and again.
type dying struct {
	fake
	longest atomic.Int64
	last    atomic.Int64
	starts  atomic.Int64
}

func (d *dying) Serve(context.Context) error {
	now := time.Now().UnixNano()
	if before := d.last.Swap(now); before != 0 {
		d.longest.Store(max(d.longest.Load(), now-before))
	}
	if d.starts.Add(1)%2 == 0 {
		panic("test")
	}
	return errors.New("socket gone")
}

// However many services end however often, each is started again within a second.
func TestServicesAreRestartedWithinASecond(t *testing.T) {
	t.Parallel()
	var all []*dying
	start(t, t.TempDir(), six, func(h *house) {
		for _, name := range []string{"a", "b", "c"} {
			d := &dying{fake: fake{name: name}}
			all = append(all, d)
			h.services = append(h.services, &service{Service: d, fuse: &guard.Fuse{}, group: guard.New(nil)})
		}
	})
	time.Sleep(4 * time.Second)
	for _, d := range all {
		if d.starts.Load() < 4 || time.Duration(d.longest.Load()) > time.Second {
			t.Errorf("%s was started %d times, the longest wait was %s", d.name, d.starts.Load(), time.Duration(d.longest.Load()))
		}
	}
}

var _ services.Service = (*dying)(nil)

// A panic in Check is told once a question, not once a try.
func TestPanicInCheckIsToldOnce(t *testing.T) {
	h := start(t, t.TempDir(), six, nil)
	h.one.set(func(f *fake) { f.broken = func(*plan.Plan) bool { panic("in check") } })
	before := h.services[0].group.Panics()
	said := h.ask(t.Context(), func(*service) time.Duration { return checkTime })
	if said[0] == nil || said[1] != nil || h.services[0].group.Panics() != before+1 {
		t.Errorf("said %v after %d panics", said, h.services[0].group.Panics()-before)
	}
}
