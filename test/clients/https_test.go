package clients_test

import (
	"os"
	"path/filepath"
	"testing"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// A machine that was given what `helperd ca` prints trusts the helper by its
// address and by its name, also after a restart, and nodes go on by plain HTTP.
func TestHTTPS(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl")
	r := rig.New(t, rig.Options{Edit: func(text string) string { return text + "http: {tls_port: 8443}\n" }})
	r.Start(t)
	m := r.Machine(t, "worker-1")
	ca := filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(ca, []byte(r.CA(t)), 0o644))
	trusted := func() {
		t.Helper()
		const name = "helper.ocp4.example.com:8443"
		for _, args := range [][]string{
			{"https://" + rig.HelperIP + ":8443/artifacts/rhcos/kernel"},
			{"--resolve", name + ":" + rig.HelperIP, "https://" + name + "/artifacts/rhcos/kernel"},
		} {
			to := filepath.Join(t.TempDir(), "kernel")
			m.Run(t, "curl", append([]string{"-sSf", "--max-time", "20", "--cacert", ca, "-o", to}, args...)...)
			sameFile(t, to, r.Artifact("rhcos-live-kernel-x86_64"))
		}
	}
	trusted()
	if status, body := curl(t, m, rig.URL("/helperd-ca.crt")); status != "200" || body != r.CA(t) {
		t.Errorf("the authority by HTTP: status %s: %s", status, body)
	}
	if status, _ := curl(t, m, "https://"+rig.HelperIP+":8443/ignition/ocp4.example.com/master.ign"); status != "403" {
		t.Errorf("a worker's ask for master.ign: status %s, want 403", status)
	}
	if status, _ := curl(t, m, rig.URL("/artifacts/rhcos/kernel")); status != "200" {
		t.Errorf("plain HTTP: status %s", status)
	}
	r.Stop(t)
	r.Start(t)
	trusted()
}
