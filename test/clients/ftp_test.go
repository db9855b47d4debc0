package clients_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
	"helperd/timeline"
)

func TestFTP(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl", "lftp")
	r := rig.New(t, rig.Options{})
	r.Rewrite(t, func(text string) string { return text + "\nftp: {listing: true}\n" })
	r.Start(t)
	node := r.Machine(t, "worker-0")
	url := "ftp://" + rig.HelperIP

	t.Run("kernel", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "kernel")
		node.Run(t, "curl", "-sS", "-m", "30", "-o", to, url+"/artifacts/rhcos/kernel")
		sameFile(t, to, r.Artifact("rhcos-live-kernel-x86_64"))
		r.AwaitEvent(t, "the node's download", 10*time.Second, func(e *timeline.Event) bool {
			return e.Kind == timeline.FTPGet && e.Node == "worker-0."+rig.Zone && e.File == "/artifacts/rhcos/kernel" && e.Bytes == e.Total
		})
	})
	t.Run("mirror", func(t *testing.T) {
		to := t.TempDir()
		node.Run(t, "lftp", "-c", "set net:timeout 10; open "+url+"; mirror --parallel=3 /artifacts "+to)
		for name, file := range map[string]string{"kernel": "rhcos-live-kernel-x86_64", "initramfs": "rhcos-live-initramfs.x86_64.img", "rootfs": "rhcos-live-rootfs.x86_64.img"} {
			sameFile(t, filepath.Join(to, "rhcos", name), r.Artifact(file))
		}
	})
	t.Run("boot script", func(t *testing.T) {
		if got := node.Run(t, "curl", "-sS", "-m", "10", url+"/pxelinux.cfg/01-"+strings.ReplaceAll(node.Node.MAC, ":", "-")); !strings.Contains(got, "coreos.inst.install_dev=/dev/vda") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("no ignition", func(t *testing.T) {
		out, err := node.Exec("curl", "-sS", "-m", "10", url+"/ignition/ocp4.example.com/worker.ign").CombinedOutput()
		if err == nil || strings.Contains(string(out), "version") {
			t.Errorf("got %q", out)
		}
	})
	t.Run("no upload", func(t *testing.T) {
		if out, err := node.Exec("curl", "-sS", "-m", "10", "-T", r.Config, url+"/x").CombinedOutput(); err == nil {
			t.Errorf("it is accepted: %q", out)
		}
	})
	t.Run("not outside of the networks", func(t *testing.T) {
		out, err := r.Outsider(t).Exec("curl", "-sS", "-v", "-m", "10", url+"/artifacts/rhcos/kernel").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "machine networks") {
			t.Errorf("got %.300q", out)
		}
	})
}
