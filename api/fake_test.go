package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/artifacts"
	"helperd/nodes"
	"helperd/plan"
	"helperd/services"
	"helperd/services/leasing"
	"helperd/state"
	"helperd/timeline"
)

// fake is a daemon with one node.
type fake struct {
	events      *timeline.Timeline
	reload      error
	noCA        error
	reinstalled string
	upgraded    string
}

func (f *fake) Status() Status {
	return Status{
		Version: "1", PID: 7, Started: start, Generation: 3,
		Configuration: Configuration{Path: "/etc/helper.yaml", State: Applied, Hash: "ab", Applied: start},
		Services:      []Service{{Name: "dns", Status: services.Status{State: services.Up, Counters: map[string]uint64{"queries": 5}}}},
		Unserved:      []Unserved{{"nfs", "not in this version"}},
	}
}

func (f *fake) Nodes() []Node {
	return []Node{{
		Name: "worker-0", FQDN: "worker-0.ocp4.example.com", Cluster: "ocp4", Role: plan.Worker,
		MACs: []plan.MAC{{0x52, 0x54, 0, 0, 0, 1}}, IP: netip.MustParseAddr("192.168.67.21"),
		Story: timeline.Story{Node: "worker-0.ocp4.example.com", Stage: timeline.Rootfs, Progress: "rootfs 43 %", Since: start},
		Boot:  nodes.State{Node: "worker-0.ocp4.example.com", Phase: nodes.Installing, Since: start},
	}}
}

func (f *fake) Leases() []Lease {
	return []Lease{{Kind: "pool", Lease: state.Lease{Address: netip.MustParseAddr("192.168.67.99"), MAC: plan.MAC{1}, Expires: start, State: state.Declined}}}
}

func (f *fake) Balancer() any { return map[string]int{"frontends": 4} }
func (f *fake) OrderServers(name, order string) (Ordered, error) {
	switch {
	case name == "nobody":
		return Ordered{}, fmt.Errorf("%w: no server %q", ErrUnknown, name)
	case order != "drain":
		return Ordered{}, fmt.Errorf("%q is no order", order)
	}
	return Ordered{Name: name, Order: order, Servers: []string{"back/" + name}, Active: 2}, nil
}

func (f *fake) Artifacts() []artifacts.Row {
	return []artifacts.Row{{Name: "rhcos", Arch: "x86_64", File: "rootfs", State: artifacts.Downloading, Size: 1000, Done: 430, Rate: 10, Retry: start, SHA256: "ab", Source: "https://example.com/rootfs"}}
}

func (f *fake) Import(_ context.Context, archive io.Reader) Import {
	b, err := io.ReadAll(archive)
	if err != nil {
		return Import{Error: err.Error()}
	}
	return Import{Files: []artifacts.Imported{{Name: string(b), Outcome: artifacts.Taken}}}
}

func (f *fake) Release(_ context.Context, which string) (Released, error) {
	if which != "192.168.67.99" {
		return Released{}, fmt.Errorf("%w: nobody has %q", ErrUnknown, which)
	}
	return Released{f.Leases()}, nil
}

// ExplainDHCP gives the question back, in the words of an answer.
func (f *fake) ExplainDHCP(q *leasing.Question) ([]leasing.Answer, error) {
	return []leasing.Answer{{Network: q.Network, Via: q.Relay.String(), Address: q.Relay, Hostname: string(q.ClientID), Reason: q.MAC.String(), Boot: []leasing.Boot{{Firmware: q.Firmware}}}}, nil
}

func (f *fake) CA() (CA, error)            { return CA{"CN=x", "ab", start, "PEM\n"}, f.noCA }
func (f *fake) PlanText() string           { return "dns:\n  \"quoted\"\n" }
func (f *fake) Events() *timeline.Timeline { return f.events }
func (f *fake) Reload() error              { return f.reload }
func (f *fake) Panic(name string) error    { return fmt.Errorf("%w service %q", ErrUnknown, name) }

func (f *fake) Upgrade(_ context.Context, path string) error {
	f.upgraded = path
	return f.reload
}

func (f *fake) Reinstall(node string) error {
	if node != "worker-0" {
		return fmt.Errorf("%w node %q", ErrUnknown, node)
	}
	f.reinstalled = node
	return nil
}

func (f *fake) Arm(node string) (time.Time, error) {
	if node != "worker-0" {
		return time.Time{}, fmt.Errorf("%w node %q", ErrUnknown, node)
	}
	return start, nil
}

type image struct{ *strings.Reader }

func (image) Close() error { return nil }

func (f *fake) ISO(node string) (Image, error) {
	if node != "worker-0" {
		return nil, fmt.Errorf("%w node %q", ErrUnknown, node)
	}
	return image{strings.NewReader(strings.Repeat("iso", 100_000))}, nil
}

func (f *fake) ISOURL(node string) (string, error) {
	if node != "worker-0" {
		return "", errors.New("it has no ISO; write iso:")
	}
	return "http://192.168.67.2:8080/iso/TOKEN/worker-0.iso", nil
}

func (f *fake) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "helperd_up 1\n") })
}

// serve gives a fake and a client of it. stop ends the server as the daemon does.
func serve(t *testing.T) (f *fake, c *Client, stop func()) {
	t.Helper()
	f = &fake{events: timeline.New(func() time.Time { return start })}
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: Handler(f), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	stop = func() { _ = s.Close(); <-done }
	t.Cleanup(stop)
	return f, NewClient(path), stop
}
