package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"helperd/artifacts"
	"helperd/services/leasing"
	"helperd/timeline"
)

// Backend is what the server asks.
type Backend interface {
	Status() Status
	Nodes() []Node
	Leases() []Lease
	// Release ends the pool leases and the quarantine of an address or a MAC.
	Release(ctx context.Context, which string) (Released, error)
	// ExplainDHCP says what a machine would get by DHCP now, and why.
	ExplainDHCP(q *leasing.Question) ([]leasing.Answer, error)
	// Balancer is the state of the balancer's frontends and backends.
	Balancer() any
	// CA is the certificate that clients of the helper are to trust; the error says how to get one.
	CA() (CA, error)
	// PlanText is the plan that is served.
	PlanText() string
	// Artifacts are the files that nodes boot.
	Artifacts() []artifacts.Row
	// Import takes what is wanted of a tar archive.
	Import(ctx context.Context, archive io.Reader) Import
	Events() *timeline.Timeline
	// Reload reads the file now; the error says what is wrong with it.
	Reload() error
	// Upgrade makes the daemon go on as the program at path, which is empty for the
	// file that it was started from; the error says why that one cannot take over.
	Upgrade(ctx context.Context, path string) error
	// Reinstall makes the next network boot of a node install it.
	Reinstall(node string) error
	// Arm opens the gate of a node's ignition file to its address, and gives when it closes.
	Arm(node string) (time.Time, error)
	// ISO orders a node to be installed and gives the ISO that does it.
	ISO(node string) (Image, error)
	// ISOURL orders a node to be installed and gives the URL of the ISO that does it, with its token.
	ISOURL(node string) (string, error)
	// OrderServers makes what name stands for ready, drain or maint: BACKEND/SERVER, a node, or a server.
	OrderServers(name, order string) (Ordered, error)
	// Panic makes the next packet of a service panic; only with test hooks.
	Panic(service string) error
	Metrics() http.Handler
}

// Image is an ISO that is read once.
type Image interface {
	io.ReadCloser
	Size() int64 // in bytes
}

// ErrUnknown is returned by a Backend for a name that does not exist.
var ErrUnknown = errors.New("unknown")

// Handler serves b.
func Handler(b Backend) http.Handler {
	mux := http.NewServeMux()
	get := func(path string, answer func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { reply(w, answer()) })
	}
	get("/v1/status", func() any { return b.Status() })
	get("/v1/nodes", func() any { return b.Nodes() })
	get("/v1/leases", func() any { return b.Leases() })
	get("/v1/lb", b.Balancer)
	get("/v1/artifacts", func() any { return b.Artifacts() })
	get("/v1/plan", func() any { return b.PlanText() })
	mux.HandleFunc("GET /v1/ca", func(w http.ResponseWriter, _ *http.Request) {
		if v, err := b.CA(); err != nil {
			fail(w, http.StatusConflict, err)
		} else {
			reply(w, v)
		}
	})
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) { serveEvents(w, r, b.Events()) })
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, _ *http.Request) { done(w, b.Reload()) })
	mux.HandleFunc("POST /v1/upgrade", func(w http.ResponseWriter, r *http.Request) { done(w, b.Upgrade(r.Context(), r.FormValue("binary"))) })
	mux.HandleFunc("POST /v1/artifacts/import", func(w http.ResponseWriter, r *http.Request) { reply(w, b.Import(r.Context(), r.Body)) })
	mux.HandleFunc("POST /v1/nodes/{name}/reinstall", func(w http.ResponseWriter, r *http.Request) { done(w, b.Reinstall(r.PathValue("name"))) })
	mux.HandleFunc("POST /v1/nodes/{name}/arm", func(w http.ResponseWriter, r *http.Request) { serveArm(w, b, r.PathValue("name")) })
	mux.HandleFunc("GET /v1/iso/{node}", func(w http.ResponseWriter, r *http.Request) { serveISO(w, r, b) })
	mux.HandleFunc("POST /v1/iso/{node}/url", func(w http.ResponseWriter, r *http.Request) {
		if url, err := b.ISOURL(r.PathValue("node")); err != nil {
			refuse(w, err)
		} else {
			reply(w, url)
		}
	})
	mux.HandleFunc("POST /v1/lb/servers/{name}/{order}", func(w http.ResponseWriter, r *http.Request) {
		if done, err := b.OrderServers(r.PathValue("name"), r.PathValue("order")); err != nil {
			refuse(w, err)
		} else {
			reply(w, done)
		}
	})
	mux.HandleFunc("POST /v1/leases/{which}/release", func(w http.ResponseWriter, r *http.Request) {
		if done, err := b.Release(r.Context(), r.PathValue("which")); err != nil {
			refuse(w, err)
		} else {
			reply(w, done)
		}
	})
	mux.HandleFunc("GET /v1/dhcp/explain", func(w http.ResponseWriter, r *http.Request) { serveExplain(w, r, b) })
	mux.HandleFunc("POST /v1/test/panic/{service}", func(w http.ResponseWriter, r *http.Request) { done(w, b.Panic(r.PathValue("service"))) })
	mux.Handle("GET /metrics", b.Metrics())
	return mux
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody to tell
}

func done(w http.ResponseWriter, err error) {
	if err != nil {
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func refuse(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrUnknown):
		fail(w, http.StatusNotFound, err)
	default:
		fail(w, http.StatusConflict, err)
	}
}

func fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(Error{err.Error()})
}

func serveArm(w http.ResponseWriter, b Backend, name string) {
	until, err := b.Arm(name)
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, Armed{until})
}

// serveISO sends the ISO of a node.
func serveISO(w http.ResponseWriter, r *http.Request, b Backend) {
	image, err := b.ISO(r.PathValue("node"))
	if err != nil {
		refuse(w, err)
		return
	}
	defer func() { _ = image.Close() }()
	w.Header().Set("Content-Type", "application/x-iso9660-image")
	w.Header().Set("Content-Length", strconv.FormatInt(image.Size(), 10))
	_, _ = io.CopyN(w, image, image.Size()) // a client that gets less than was promised says so
}

// serveEvents answers with an array of the events after ?since, or with
// ?follow=1 by server-sent events until the client goes.
func serveEvents(w http.ResponseWriter, r *http.Request, t *timeline.Timeline) {
	since, err := strconv.ParseUint(r.FormValue("since"), 10, 64)
	if err != nil && r.FormValue("since") != "" {
		fail(w, http.StatusBadRequest, fmt.Errorf("since=%q is not a sequence number", r.FormValue("since")))
		return
	}
	if r.FormValue("follow") == "" {
		reply(w, append([]timeline.Event{}, t.Since(since)...))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	if rc.Flush() != nil { // the client knows that it is connected, also while nothing happens
		return
	}
	for {
		events, err := t.Follow(r.Context(), since)
		if err != nil {
			return
		}
		for i := range events {
			b, err := json.Marshal(&events[i])
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", events[i].Seq, b); err != nil {
				return
			}
			since = events[i].Seq
		}
		if rc.Flush() != nil {
			return
		}
	}
}
