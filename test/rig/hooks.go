package rig

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"helperd/api"
)

// Balancer is `helperd lb -o json` as text.
func (r *Rig) Balancer(t testing.TB) string {
	t.Helper()
	out, err := r.ctl("lb", "-o", "json")
	must(t, err)
	return string(out)
}

// CA is what `helperd ca` prints.
func (r *Rig) CA(t testing.TB) string {
	t.Helper()
	out, err := r.ctl("ca")
	must(t, err)
	return string(out)
}

// Panic makes the next packet of a service panic. The daemon must run with HELPERD_TEST_HOOKS=1.
func (r *Rig) Panic(t testing.TB, service string) {
	t.Helper()
	must(t, api.NewClient(r.Socket).Panic(t.Context(), service))
}

// Ask gives what a command of the binary prints.
func (r *Rig) Ask(t testing.TB, args ...string) string {
	t.Helper()
	out, err := r.ctl(args...)
	if err != nil {
		t.Fatalf("helperd %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// Metrics is what the daemon tells Prometheus.
func (r *Rig) Metrics(t testing.TB) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.Socket)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://helperd/metrics")
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(b)
}

// Refuse gives what a command of the binary says that must not do what it is asked for.
func (r *Rig) Refuse(t testing.TB, args ...string) string {
	t.Helper()
	out, err := r.ctl(args...)
	if err == nil {
		t.Fatalf("helperd %q was not refused:\n%s", args, out)
	}
	return err.Error()
}
