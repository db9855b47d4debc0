package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"helperd/api"
	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

const six = `version: 1
helper: {address: 192.168.67.2}
networks: [{cidr: 192.168.67.0/24, gateway: 192.168.67.1}]
clusters:
  - name: ocp4
    domain: example.com
    nodes:
      - {name: master-0, role: master, mac: "52:54:00:e7:9d:67", ip: 192.168.67.11}
      - {name: master-1, role: master, mac: "52:54:00:80:16:23", ip: 192.168.67.12}
      - {name: master-2, role: master, mac: "52:54:00:d5:1c:39", ip: 192.168.67.13}
      - {name: worker-0, role: worker, mac: "52:54:00:f4:26:a1", ip: 192.168.67.21}
      - {name: worker-1, role: worker, mac: "52:54:00:82:90:00", ip: 192.168.67.22}
`

const oneMore = `      - {name: worker-2, role: worker, mac: "52:54:00:82:90:01", ip: 192.168.67.23}
`

// fake is a service that serves nothing and remembers what it was told.
type fake struct {
	name string

	mu       sync.Mutex
	refuse   error                 // what Prepare returns
	broken   func(*plan.Plan) bool // for which plans Check fails
	served   *plan.Plan            // of the last Commit
	commits  int
	discards int
	panics   bool // in Prepare
	panicsAt int  // in Commit of a plan with so many nodes

	hangs     func(*plan.Plan) bool // for which plans Check waits in vain
	preparing func()                // called in Prepare
	problem   string                // in Status
}

func (f *fake) Name() string                    { return f.name }
func (f *fake) Serve(ctx context.Context) error { <-ctx.Done(); return nil }
func (f *fake) set(change func(*fake))          { f.mu.Lock(); defer f.mu.Unlock(); change(f) }

func (f *fake) Status() services.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.problem != "" {
		return services.Status{State: services.Degraded, Problem: f.problem}
	}
	return services.Status{State: services.Up}
}

func (f *fake) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.preparing != nil {
		f.preparing()
	}
	if f.panics {
		panic("in prepare")
	}
	return &fakeChange{f, p}, f.refuse
}

func (f *fake) Check(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.hangs != nil && f.hangs(f.served) {
		<-ctx.Done()
		return ctx.Err()
	}
	if f.broken != nil && f.broken(f.served) {
		return errors.New("no answer")
	}
	return nil
}

type fakeChange struct {
	f *fake
	p *plan.Plan
}

func (c *fakeChange) Commit() {
	c.f.set(func(f *fake) {
		if f.panicsAt == len(c.p.Nodes) {
			panic("in commit")
		}
		f.served = c.p
		f.commits++
	})
}
func (c *fakeChange) Discard() { c.f.set(func(f *fake) { f.discards++ }) }

// house is a running daemon with two fakes.
type house struct {
	*Daemon
	path string
	one  *fake
	two  *fake
	stop func()
}

func start(t *testing.T, dir, text string, prepare func(h *house)) *house {
	t.Helper()
	h := &house{path: filepath.Join(dir, "helper.yaml"), one: &fake{name: "one"}, two: &fake{name: "two"}}
	h.write(t, text)
	var err error
	h.Daemon, err = newDaemon(Options{ConfigPath: h.path, StateDir: filepath.Join(dir, "state"), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	h.holdFor = time.Second
	for _, f := range []*fake{h.one, h.two} {
		h.services = append(h.services, &service{Service: f, fuse: &guard.Fuse{}, group: guard.New(nil)})
	}
	if prepare != nil {
		prepare(h)
	}
	ctx, cancel := context.WithCancel(context.Background())
	for _, svc := range h.services {
		h.supervise(ctx, svc)
	}
	var wg sync.WaitGroup
	wg.Go(func() { h.reloadUntil(ctx) })
	h.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); h.guard.Wait(); h.close() })
	t.Cleanup(h.stop)
	h.await(t, "the first look at the file", func(v view) bool { return v.status.State != "" })
	return h
}

func (h *house) write(t *testing.T, text string) {
	t.Helper()
	if text == "" {
		return
	}
	if err := os.WriteFile(h.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *house) await(t *testing.T, what string, ok func(view) bool) view {
	t.Helper()
	for deadline := time.Now().Add(8 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if v := h.view(); ok(v) {
			return v
		}
	}
	v := h.view()
	t.Fatalf("%s did not come: generation %d, file %s, errors %q", what, v.generation, v.status.State, v.status.Errors)
	return v
}

func (h *house) nodesServed(f *fake) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.served == nil {
		return 0
	}
	return len(f.served.Nodes)
}

func TestChangeIsAppliedLive(t *testing.T) {
	h := start(t, t.TempDir(), six, nil)
	if n := h.nodesServed(h.one); n != 5 {
		t.Fatalf("%d nodes served after the start", n)
	}
	begun := time.Now()
	h.write(t, six+oneMore)
	h.await(t, "the new node", func(v view) bool { return v.generation == 2 })
	t.Logf("applied after %s", time.Since(begun))
	if h.nodesServed(h.one) != 6 || h.nodesServed(h.two) != 6 {
		t.Error("a service does not serve the new node")
	}
}

func TestBrokenFileLeavesAllAsItIs(t *testing.T) {
	h := start(t, t.TempDir(), six, nil)
	h.write(t, six+"      - {name: worker-2, role: wroker, ip: 192.168.67.23}\n")
	v := h.await(t, "the complaint", func(v view) bool { return v.status.State == api.Broken })
	if len(v.status.Errors) != 1 || !strings.HasPrefix(v.status.Errors[0], h.path+":13:") || !strings.Contains(v.status.Errors[0], "worker") {
		t.Errorf("errors %q", v.status.Errors)
	}
	if v.generation != 1 || h.nodesServed(h.one) != 5 {
		t.Error("something changed")
	}
	h.write(t, six+oneMore)
	h.await(t, "the repaired file", func(v view) bool { return v.generation == 2 && v.status.State == api.Applied })
}

func TestFileMendedToWhatIsServed(t *testing.T) {
	h := start(t, t.TempDir(), six, nil)
	h.write(t, "version: 7\n")
	h.await(t, "the complaint", func(v view) bool { return v.status.State == api.Broken })
	h.write(t, six)
	v := h.await(t, "the all clear", func(v view) bool { return v.status.State == api.Applied })
	if v.generation != 1 || h.one.commits != 1 {
		t.Errorf("generation %d, %d commits: the same file was applied again", v.generation, h.one.commits)
	}
}

func TestOneRefusalDiscardsAll(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*fake)
	}{
		{"error", func(f *fake) { f.refuse = errors.New("no such device") }},
		{"panic", func(f *fake) { f.panics = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := start(t, t.TempDir(), six, nil)
			h.two.set(c.set)
			h.write(t, six+oneMore)
			v := h.await(t, "the refusal", func(v view) bool { return v.status.State == api.Rejected })
			if !strings.Contains(v.status.Errors[0], "two: ") {
				t.Errorf("errors %q do not name the service", v.status.Errors)
			}
			if h.nodesServed(h.one) != 5 || h.one.discards != 1 {
				t.Errorf("service one serves %d nodes, %d discards", h.nodesServed(h.one), h.one.discards)
			}
		})
	}
}

func TestSilenceAfterCommitGoesBack(t *testing.T) {
	t.Parallel()
	h := start(t, t.TempDir(), six, func(h *house) {
		h.two.broken = func(p *plan.Plan) bool { return len(p.Nodes) == 6 }
	})
	h.write(t, six+oneMore)
	v := h.await(t, "the way back", func(v view) bool { return v.status.State == api.Rejected })
	if v.generation != 1 || h.nodesServed(h.one) != 5 || h.nodesServed(h.two) != 5 {
		t.Errorf("generation %d, %d and %d nodes served", v.generation, h.nodesServed(h.one), h.nodesServed(h.two))
	}
	if !strings.Contains(v.status.Errors[0], "two answered before") {
		t.Errorf("errors %q", v.status.Errors)
	}
}

func TestServiceThatNeverAnsweredDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	h := start(t, t.TempDir(), six, func(h *house) { h.two.broken = func(*plan.Plan) bool { return true } })
	h.write(t, six+oneMore)
	h.await(t, "the new node", func(v view) bool { return v.generation == 2 && v.status.State == api.Applied })
	for _, row := range (backend{h.Daemon}).Status().Services {
		want := map[string]services.State{"one": services.Up, "two": services.Degraded}[row.Name]
		if row.State != want {
			t.Errorf("%s is %s, want %s: %s", row.Name, row.State, want, row.LastError)
		}
	}
}

func TestStartOnTheLastGoodConfiguration(t *testing.T) {
	dir := t.TempDir()
	h := start(t, dir, six, nil)
	h.stop()
	for _, text := range []string{"version: [", "version: 2\n"} {
		h = start(t, dir, text, nil)
		v := h.await(t, "the last good configuration", func(v view) bool { return v.generation == 1 })
		if v.status.State != api.Broken || len(v.status.Errors) == 0 || h.nodesServed(h.one) != 5 {
			t.Errorf("file %s, errors %q, %d nodes served", v.status.State, v.status.Errors, h.nodesServed(h.one))
		}
		h.stop()
	}
	if err := os.Remove(h.path); err != nil {
		t.Fatal(err)
	}
	h = start(t, dir, "", nil)
	if v := h.await(t, "the last good configuration", func(v view) bool { return v.generation == 1 }); v.status.State != api.Missing || h.nodesServed(h.one) != 5 {
		t.Errorf("without a file: %s, %d nodes served", v.status.State, h.nodesServed(h.one))
	}
}

func TestStartWithNothing(t *testing.T) {
	h := start(t, t.TempDir(), "version: 2\n", nil)
	if h.nodesServed(h.one) != 0 || h.view().status.State != api.Broken {
		t.Errorf("file %s", h.view().status.State)
	}
	h.write(t, six)
	h.await(t, "the first configuration", func(v view) bool { return v.generation == 1 })
}

// A file that was cut off in the middle can be valid.
func TestTruncatedFileWaits(t *testing.T) {
	t.Parallel()
	h := start(t, t.TempDir(), six, nil)
	cut := six[:strings.Index(six, "      - {name: master-2")]
	h.write(t, cut)
	h.await(t, "the wait", func(v view) bool { return v.status.State == api.Waiting })
	h.write(t, six+oneMore)
	h.await(t, "the whole file", func(v view) bool { return v.generation == 2 })
	if n := h.nodesServed(h.one); n != 6 || h.one.commits != 2 {
		t.Errorf("%d nodes served after %d commits: the truncated file was applied", n, h.one.commits)
	}
	h.write(t, cut) // this time it stays
	h.await(t, "the smaller file", func(v view) bool { return v.generation == 3 })
}

func TestReloadByAPI(t *testing.T) {
	h := start(t, t.TempDir(), six, nil)
	if err := (backend{h.Daemon}).Reload(); err != nil {
		t.Errorf("reload of an unchanged file: %v", err)
	}
	h.write(t, "version: 2\n")
	if err := (backend{h.Daemon}).Reload(); err == nil || !strings.Contains(err.Error(), "helper.yaml:1:") {
		t.Errorf("reload of a broken file: %v", err)
	}
}

func TestEventsTellOfReloads(t *testing.T) {
	h := start(t, t.TempDir(), six, nil)
	h.write(t, six+oneMore)
	h.await(t, "the new node", func(v view) bool { return v.generation == 2 })
	h.write(t, "version: 2\n")
	h.await(t, "the complaint", func(v view) bool { return v.status.State == api.Broken })
	var kinds []timeline.Kind
	for _, e := range h.events.Since(0) {
		kinds = append(kinds, e.Kind)
	}
	want := []timeline.Kind{timeline.ConfigApplied, timeline.ConfigApplied, timeline.ConfigRejected}
	if !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
}
