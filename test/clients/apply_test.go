package clients_test

import (
	"strings"
	"testing"
	"time"

	"helperd/api"
	"helperd/internal/netns"
	"helperd/test/rig"
)

// TestAddWorker writes one more worker into the file: name, lease and boot
// file are there at once, and the process is the same. Then the file is broken,
// and all goes on.
func TestAddWorker(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "dig", "busybox", "curl")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	m := r.Machine(t, "master-0")
	if got := dig(t, m, "+short", "worker-2.ocp4.example.com"); got != "" {
		t.Fatalf("worker-2 is %s before it was written", got)
	}
	const last = `      - {name: worker-1,`
	r.Apply(t, func(text string) string {
		return strings.Replace(text, last, `      - {name: worker-2, role: worker, mac: "52:54:00:82:90:02", ip: 192.168.67.23}`+"\n"+last, 1)
	})
	served := func() {
		t.Helper()
		if got := dig(t, m, "+short", "worker-2.ocp4.example.com"); got != "192.168.67.23" {
			t.Errorf("worker-2 is %q, want 192.168.67.23", got)
		}
		if got := dig(t, m, "+short", "-x", "192.168.67.23"); got != "worker-2.ocp4.example.com." {
			t.Errorf("192.168.67.23 is %q, want worker-2", got)
		}
	}
	served()
	added := r.Stranger(t, "52:54:00:82:90:02")
	want(t, udhcpc(t, added), map[string]string{"ip": "192.168.67.23", "hostname": "worker-2.ocp4.example.com"})
	if status, script := curl(t, added, r.BootScript(added.Node)); status != "200" || !strings.Contains(script, "worker.ign") {
		t.Errorf("boot script of worker-2: status %s:\n%s", status, script)
	}

	r.Rewrite(t, func(text string) string { return text + "nonsense: [\n" })
	await(t, "status says that the file is broken", 10*time.Second, func() bool {
		return r.Status(t).Configuration.State == api.Broken
	})
	if errs := r.Status(t).Configuration.Errors; len(errs) == 0 || !strings.Contains(errs[0], "helper.yaml:") {
		t.Errorf("status does not say where the file is broken: %q", errs)
	}
	served()
}
