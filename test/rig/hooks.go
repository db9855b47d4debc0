package rig

import (
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
