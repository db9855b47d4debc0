// Package servicetest gives tests of a service what the daemon would give it, and a
// process of its own where it needs one.
package servicetest

import (
	"io"
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
	h, err := open(filepath.Join(dir, "state"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Guard.Wait()
		if len(h.Panics) > 0 {
			t.Errorf("panic in %s", <-h.Panics)
		}
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// open makes a host that keeps its state in dir. Where dir is empty there is no store, and nothing is known of nodes.
func open(dir string, out io.Writer) (*Host, error) {
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	panics := make(chan string, 16)
	group := guard.New(func(name string, v any, stack []byte) {
		log.Error("panic", "goroutine", name, "err", v, "stack", string(stack))
		panics <- name
	})
	events := timeline.New(time.Now)
	h := &Host{Panics: panics, Host: services.Host{
		Log: log, Guard: group, Fuse: &guard.Fuse{}, Sockets: socket.NewTable(group, log), Events: events,
		Artifacts: artifacts.New(), Metrics: prometheus.NewRegistry(),
	}}
	if dir == "" {
		return h, nil
	}
	var err error
	if h.Store, err = state.Open(dir); err != nil {
		return nil, err
	}
	h.Leases = h.Store
	h.Nodes, err = nodes.New(h.Store, events, log, time.Now)
	return h, err
}

func (h *Host) close() error {
	h.Sockets.Close()
	if h.Store == nil {
		return nil
	}
	return h.Store.Close()
}
