package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"helperd/artifacts/fetch"
	"helperd/config"
	"helperd/internal/guard"
	"helperd/plan"
	"helperd/timeline"
)

// noise is content that no repetition or offset hides an error in.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// web is a server of files; before is called with every request and may answer it.
type web struct {
	*httptest.Server
	mu     sync.Mutex
	files  map[string][]byte
	before func(w http.ResponseWriter, r *http.Request) (answered bool)
	asked  []string // PATH, and the range behind it
}

func newWeb(t testing.TB) *web {
	w := &web{files: map[string][]byte{}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *web) set(change func()) { w.mu.Lock(); defer w.mu.Unlock(); change() }

func (w *web) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.asked...)
}

func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	before, content := w.before, w.files[r.URL.Path]
	w.asked = append(w.asked, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	w.mu.Unlock()
	if before != nil && before(rw, r) {
		return
	}
	if content == nil {
		http.NotFound(rw, r)
		return
	}
	rw.Header().Set("ETag", `"`+sumOf(content)[:8]+`"`)
	http.ServeContent(rw, r, "", time.Time{}, strings.NewReader(string(content)))
}

// cut sends the first n bytes of the answer and breaks the connection.
func cut(rw http.ResponseWriter, content []byte, n int) {
	rw.Header().Set("Content-Length", fmt.Sprint(len(content)))
	_, _ = rw.Write(content[:n])
	_ = http.NewResponseController(rw).Flush()
	panic(http.ErrAbortHandler)
}

// rig is a store that serves, and what the daemon does around it.
type rig struct {
	*Store
	t      testing.TB
	events *timeline.Timeline
	yaml   atomic.Pointer[string]
	applyM sync.Mutex
	busy   atomic.Bool
	stop   func()
}

func quick(s *Store) {
	s.times = times{
		poll: 50 * time.Millisecond, retry: 20 * time.Millisecond, slow: 50 * time.Millisecond, stall: 20 * time.Second,
		header: 20 * time.Second, stream: 20 * time.Second, again: 100 * time.Millisecond, linger: 0,
	}
}

func newRig(t testing.TB, dir string, edit func(*Store)) *rig {
	t.Helper()
	g := &rig{t: t, events: timeline.New(time.Now)}
	group := guard.New(func(name string, v any, stack []byte) { t.Errorf("%s: %v\n%s", name, v, stack) })
	g.Store = Open(Options{
		Dir: dir, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Events: g.events, Guard: group,
		Metrics: prometheus.NewRegistry(), Busy: func(time.Time) bool { return g.busy.Load() },
	})
	quick(g.Store)
	if edit != nil {
		edit(g.Store)
	}
	g.client = fetch.NewClient("helperd/1.2.3", g.times.stall, g.times.header)
	ctx, cancel := context.WithCancel(context.Background())
	group.Loop(ctx, "artifacts", g.Serve)
	group.Go("follow", func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-g.Changed():
				g.compile()
			}
		}
	})
	g.stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	t.Cleanup(g.stop)
	return g
}

// apply makes yaml the configuration.
func (g *rig) apply(yaml string) {
	g.t.Helper()
	g.yaml.Store(&yaml)
	g.compile()
}

func (g *rig) compile() {
	g.applyM.Lock()
	defer g.applyM.Unlock()
	yaml := g.yaml.Load()
	if yaml == nil {
		return
	}
	c, ds := config.Load([]byte(*yaml))
	if ds.HasErrors() {
		g.t.Errorf("%v", ds)
		return
	}
	facts := plan.Facts{Serial: 1}
	g.Facts(&facts, plan.StreamSources(c))
	p, ds := plan.Compile(c, facts)
	if ds.HasErrors() {
		g.t.Errorf("%v", ds)
	}
	g.Apply(p)
}

func (g *rig) served() *plan.Plan {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.plan
}

// boots is the set that nodes are told to boot.
func (g *rig) boots() *plan.Set {
	g.t.Helper()
	p := g.served()
	if p == nil || len(p.Artifacts) == 0 {
		g.t.Fatal("nothing to boot in the plan")
	}
	return p.Artifacts[0].Boots
}

// has reads what is served of a part of the set.
func (g *rig) has(set *plan.Set, part string) ([]byte, error) {
	name, err := g.Path(set.File(part))
	if err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}

// await waits for a state of a file, by part.
func (g *rig) await(part string, want State) Row {
	g.t.Helper()
	var last []Row
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		last = g.Rows()
		for _, r := range last {
			if r.File == part && r.Use != Before && r.State == want {
				return r
			}
		}
	}
	b, _ := json.MarshalIndent(last, "", " ")
	g.t.Fatalf("%s never is %s:\n%s", part, want, b)
	return Row{}
}

// awaitAll waits until every file that boots is here.
func (g *rig) awaitAll() {
	g.t.Helper()
	for _, part := range []string{plan.PartKernel, plan.PartInitramfs, plan.PartRootfs} {
		g.await(part, Present)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never is so that %s", what)
		}
	}
}

// version is one set of files on the web.
type version struct{ kernel, initramfs, rootfs []byte }

func newVersion(seed byte) version {
	return version{noise(seed, 100<<10), noise(seed+1, 200<<10), noise(seed+2, 1<<20)}
}

func (w *web) put(dir string, v version) {
	w.set(func() {
		w.files[dir+"/kernel"], w.files[dir+"/initramfs"], w.files[dir+"/rootfs"] = v.kernel, v.initramfs, v.rootfs
	})
}

const head = `version: 1
helper: {address: 192.168.7.2}
networks: [{cidr: 192.168.7.0/24, gateway: 192.168.7.1}]
`

const nodes = `clusters:
  - name: ocp4
    domain: example.com
    artifacts: rhcos
    install_disk: /dev/sda
    ignition: /srv/ignition
    nodes:
      - {name: m0, role: master, mac: "52:54:00:00:00:02", ip: 192.168.7.11}
`

// yamlOf names the files of v one by one.
func yamlOf(base string, v version) string {
	return head + "artifacts:\n  - name: rhcos\n" +
		fmt.Sprintf("    kernel: {url: %q, sha256: %s}\n", base+"/kernel", sumOf(v.kernel)) +
		fmt.Sprintf("    initramfs: {url: %q, sha256: %s}\n", base+"/initramfs", sumOf(v.initramfs)) +
		fmt.Sprintf("    rootfs: {url: %q, sha256: %s}\n", base+"/rootfs", sumOf(v.rootfs)) + nodes
}

func (g *rig) kinds() map[timeline.Kind]int {
	out := map[timeline.Kind]int{}
	for _, e := range g.events.Since(0) {
		out[e.Kind]++
	}
	return out
}

// failure is what the last event says of a file that failed.
func (g *rig) failure(suffix string) (text string) {
	for _, e := range g.events.Since(0) {
		if e.Kind == timeline.ArtifactFailed && strings.HasSuffix(e.File, suffix) {
			text = e.Detail
		}
	}
	return text
}

func dirOf(t testing.TB) string { return filepath.Join(t.TempDir(), "artifacts") }
