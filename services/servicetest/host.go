// Package servicetest gives tests of a service what the daemon would give it.
package servicetest

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"helperd/artifacts"
	"helperd/internal/guard"
	"helperd/internal/socket"
	"helperd/nodes"
	"helperd/services"
	"helperd/state"
	"helperd/timeline"
)

// Host is a daemon without configuration. What is logged as a warning goes to the test's output.
type Host struct {
	services.Host
	Panics chan string // names of what panicked; the test fails if some are left at its end
}

// NewHost gives a host that keeps its state below dir. It is closed after all
// that the test cleans up from here on.
func NewHost(t testing.TB, dir string) *Host {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	panics := make(chan string, 16)
	group := guard.New(func(name string, v any, stack []byte) {
		t.Logf("%s: %v\n%s", name, v, stack)
		panics <- name
	})
	store, err := state.Open(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	events := timeline.New(time.Now)
	registry, err := nodes.New(store, events, log, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{Panics: panics, Host: services.Host{
		Log: log, Guard: group, Fuse: &guard.Fuse{}, Sockets: socket.NewTable(group, log), Events: events,
		Nodes: registry, Artifacts: artifacts.New(), Store: store, Metrics: prometheus.NewRegistry(),
	}}
	t.Cleanup(func() {
		group.Wait()
		if len(panics) > 0 {
			t.Errorf("panic in %s", <-panics)
		}
		h.Sockets.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}
