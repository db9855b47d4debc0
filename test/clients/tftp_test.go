package clients_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// tftpGet fetches a file by tftp-hpa. That program exits 0 whatever happens,
// so what counts is the file; without one its output says why.
func tftpGet(t *testing.T, m *rig.Machine, path string) (content []byte, output string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "file")
	out, err := m.Exec("timeout", "20", "tftp", "-m", "binary", rig.HelperIP, "-c", "get", path, to).CombinedOutput()
	if err != nil {
		t.Fatalf("tftp get %s: %v\n%s", path, err, out)
	}
	content, _ = os.ReadFile(to)
	return content, string(out)
}

func TestTFTP(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "tftp", "curl")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	m := r.Machine(t, "worker-0")

	t.Run("loader", func(t *testing.T) {
		b, err := os.ReadFile("/usr/lib/ipxe/snponly.efi")
		if err != nil {
			netns.SkipOrFail(t, "iPXE is not installed: see test/packages.sh")
		}
		if got, out := tftpGet(t, m, "snponly.efi"); !bytes.Equal(got, b) {
			t.Errorf("snponly.efi has %d bytes, want the %d of the package\n%s", len(got), len(b), out)
		}
	})
	t.Run("kernel with a block size of curl", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "kernel")
		m.Run(t, "curl", "-sSf", "--max-time", "30", "--tftp-blksize", "1432", "-o", to, "tftp://"+rig.HelperIP+"/artifacts/rhcos/kernel")
		sameFile(t, to, r.Artifact("rhcos-live-kernel-x86_64"))
	})
	for _, path := range []string{"pxelinux.cfg/01-52-54-00-f4-26-a1", "/grub.cfg-01-52-54-00-f4-26-a1"} {
		t.Run(path, func(t *testing.T) {
			got, out := tftpGet(t, m, path)
			for _, want := range []string{"coreos.live.rootfs_url=", "coreos.inst.install_dev=/dev/vda", "artifacts/rhcos/kernel"} {
				if !strings.Contains(string(got), want) {
					t.Errorf("no %q in the node's boot file:\n%s%s", want, got, out)
				}
			}
		})
	}
	for _, path := range []string{"no-such-file", "pxelinux.cfg/01-52-54-00-00-00-99", "../../../../etc/passwd", "/etc/passwd", "boot/../../etc/passwd"} {
		t.Run("refused "+path, func(t *testing.T) {
			got, out := tftpGet(t, m, path)
			if len(got) > 0 {
				t.Errorf("the server sent %d bytes: %.40q", len(got), got)
			}
			if !strings.Contains(out, "Error code") {
				t.Errorf("the server gave no error at once:\n%s", out)
			}
		})
	}
}

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	if g, w := rig.SHA256(t, got), rig.SHA256(t, want); g != w {
		t.Errorf("SHA-256 of what arrived is %s, of %s %s", g, want, w)
	}
}
