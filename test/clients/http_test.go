package clients_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
	"helperd/timeline"
)

// curl fetches a URL and gives the status and the body. Status 000: no answer.
func curl(t *testing.T, m *rig.Machine, args ...string) (status, body string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "body")
	args = append([]string{"-sk", "--max-time", "20", "--path-as-is", "-o", to, "-w", "%{http_code}"}, args...)
	out, _ := m.Exec("curl", args...).Output() // the status says what curl's exit code says
	b, _ := os.ReadFile(to)
	return string(out), string(b)
}

func TestCurl(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl", "busybox")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	node, other, outsider := r.Machine(t, "worker-1"), r.Neighbour(t, "52:54:00:cc:00:01", "192.168.67.77"), r.Outsider(t)

	t.Run("artifacts", func(t *testing.T) {
		for path, file := range map[string]string{
			"kernel": "rhcos-live-kernel-x86_64", "initramfs": "rhcos-live-initramfs.x86_64.img", "rootfs": "rhcos-live-rootfs.x86_64.img",
		} {
			to := filepath.Join(t.TempDir(), path)
			node.Run(t, "curl", "-sSf", "--max-time", "30", "-o", to, rig.URL("/artifacts/rhcos/"+path))
			sameFile(t, to, r.Artifact(file))
		}
	})
	t.Run("range", func(t *testing.T) {
		kernel, err := os.ReadFile(r.Artifact("rhcos-live-kernel-x86_64"))
		must(t, err)
		status, body := curl(t, node, "-r", "1000-1099", rig.URL("/artifacts/rhcos/kernel"))
		if status != "206" || body != string(kernel[1000:1100]) {
			t.Errorf("range 1000-1099: status %s and %d bytes, want 206 and exactly those", status, len(body))
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		out := node.Run(t, "curl", "-sSfI", "--max-time", "10", rig.URL("/artifacts/rhcos/rootfs"))
		info, err := os.Stat(r.Artifact("rhcos-live-rootfs.x86_64.img"))
		must(t, err)
		if m := regexp.MustCompile(`(?i)content-length: (\d+)`).FindStringSubmatch(out); m == nil || m[1] != itoa(info.Size()) {
			t.Errorf("HEAD of the rootfs does not say %d bytes:\n%s", info.Size(), out)
		}
	})

	ignition := func(role string) string { return rig.URL("/ignition/ocp4.example.com/" + role + ".ign") }
	for _, c := range []struct {
		name string
		from *rig.Machine
		want string
		args []string
	}{
		{"another role's ignition", node, "403", []string{ignition("master")}},
		{"bootstrap's ignition", node, "403", []string{ignition("bootstrap")}},
		{"ignition for a machine of no list", other, "403", []string{ignition("worker")}},
		{"ignition for an outsider", outsider, "403", []string{ignition("worker")}},
		{"no script for a MAC of no list", node, "404", []string{rig.URL("/boot/52-54-00-00-00-99.ipxe")}},
		{"no listing of ignition", node, "404", []string{rig.URL("/ignition/")}},
		{"no listing of artifacts", node, "404", []string{rig.URL("/artifacts/rhcos/")}},
		{"no writing", node, "405", []string{"-X", "POST", "-d", "x", rig.URL("/artifacts/rhcos/kernel")}},
		{"dots", node, "404", []string{rig.URL("/../../../../etc/passwd")}},
		{"dots after a folder", node, "404", []string{rig.URL("/artifacts/rhcos/../../../../../etc/passwd")}},
		{"encoded dots", node, "404", []string{rig.URL("/artifacts/%2e%2e/%2e%2e/%2e%2e/etc/passwd")}},
		{"encoded slashes", node, "404", []string{rig.URL("/..%2f..%2f..%2fetc%2fpasswd")}},
		{"an absolute path", node, "404", []string{rig.URL("//etc/passwd")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := curl(t, c.from, c.args...)
			if status != c.want || strings.Contains(body, "root:") || strings.Contains(body, `"ignition"`) {
				t.Errorf("status %s, want %s; body %.200q", status, c.want, body)
			}
		})
	}
	refused := r.AwaitEvent(t, "ignition.refused", 5*time.Second, func(e *timeline.Event) bool {
		return e.Kind == timeline.IgnitionRefused && e.Addr.String() == "192.168.67.77"
	})
	if refused.Detail == "" {
		t.Error("ignition.refused does not say why and what to do")
	}
}

// TestIgnitionWalk fetches as an installer does: lease, script, rootfs,
// ignition with the token of the script, and then the script again.
func TestIgnitionWalk(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl", "busybox")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	m := r.Blank(t, "worker-0")
	want(t, udhcpc(t, m), map[string]string{"ip": "192.168.67.21"})

	status, script := curl(t, m, r.BootScript(m.Node))
	found := regexp.MustCompile(`coreos\.inst\.ignition_url=(\S+)`).FindStringSubmatch(script)
	if status != "200" || found == nil {
		t.Fatalf("boot script: status %s, no ignition URL:\n%s", status, script)
	}
	url := found[1]
	if !strings.Contains(url, "token=") {
		t.Errorf("the ignition URL has no token, although DHCP gave the address: %s", url)
	}
	fetch := func(step, url, wantStatus string, args ...string) string {
		t.Helper()
		status, body := curl(t, m, append(args, url)...)
		if status != wantStatus {
			t.Errorf("%s: status %s, want %s: %.200s", step, status, wantStatus, body)
		}
		return body
	}
	file, err := os.ReadFile(r.Ignition("worker"))
	must(t, err)
	bare, _, _ := strings.Cut(url, "?")
	fetch("rootfs", rig.URL("/artifacts/rhcos/rootfs"), "200")
	fetch("ignition without the token", bare, "403")
	fetch("ignition with another token", bare+"?token=AAAAAAAAAAAAAAAAAAAAAAAAAA", "403")
	fetch("HEAD of the ignition", url, "200", "-I")

	// Not there yet is no refusal: installers ask again after 503, and give up at 404 and 403.
	must(t, os.Rename(r.Ignition("worker"), r.Ignition("worker")+".away"))
	fetch("ignition that is not there yet", url, "503")
	must(t, os.Rename(r.Ignition("worker")+".away", r.Ignition("worker")))

	if body := fetch("ignition", url, "200"); body != string(file) {
		t.Errorf("the ignition file arrived changed: %d bytes, want %d", len(body), len(file))
	}
	if _, script = curl(t, m, r.BootScript(m.Node)); strings.Contains(script, "coreos.inst") {
		t.Errorf("all was fetched, and the script installs again:\n%s", script)
	}
}
