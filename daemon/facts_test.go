package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"helperd/api"
	"helperd/internal/netns"
	"helperd/plan"
)

// booting is six with an artifact, for nodes of an architecture.
func booting(artifact, arch string) string {
	text := strings.Replace(six, "clusters:\n", "artifacts:\n  - name: rhcos\n"+artifact+"clusters:\n", 1)
	text = strings.Replace(text, "    domain: example.com\n", "    domain: example.com\n    artifacts: rhcos\n    install_disk: /dev/sda\n", 1)
	return strings.ReplaceAll(text, ", ip:", ", arch: "+arch+", ip:")
}

// putStream writes a stream JSON whose files have that content and query.
func putStream(t *testing.T, path, base, content, query string) {
	t.Helper()
	sum := sha256.Sum256([]byte(content))
	file := fmt.Sprintf(`{"location": %q, "sha256": %q}`, base+"/file"+query, hex.EncodeToString(sum[:]))
	text := fmt.Sprintf(`{"stream": "test", "architectures": {"x86_64": {"artifacts": {"metal": {"release": "1",
		"formats": {"pxe": {"kernel": %[1]s, "initramfs": %[1]s, "rootfs": %[1]s}}}}}}}`, file)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// What became known while a file was held back is in what is applied then.
func TestHeldFileFollowsTheFactsOfItsTime(t *testing.T) {
	t.Parallel()
	stream := filepath.Join(t.TempDir(), "stream.json")
	putStream(t, stream, "http://192.168.67.3", "one", "")
	text := booting("    stream: {file: "+stream+"}\n", "x86_64")
	h := start(t, t.TempDir(), text, func(h *house) { h.holdFor = 3 * time.Second })
	rootfs := func(v view) string { return v.plan.Artifacts[0].Wanted.File(plan.PartRootfs).SHA256 }
	before := rootfs(h.view())
	lines := strings.SplitAfter(text, "\n")
	h.write(t, strings.Join(lines[:len(lines)-2], "")) // one of five nodes less
	h.await(t, "the wait", func(v view) bool { return v.status.State == api.Waiting })
	putStream(t, stream, "http://192.168.67.3", "two", "")
	if v := h.await(t, "the smaller file", func(v view) bool { return v.generation == 2 }); rootfs(v) == before {
		t.Error("it is applied with the stream as it was when the file was read")
	}
}

// A token in a URL is no line of the plan, and counts all the same.
func TestNewQueryInAStreamIsUsed(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "token=old" {
			asked.Store(true)
		}
		if r.URL.RawQuery != "token=new" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte("content"))
	}))
	t.Cleanup(web.Close)
	stream := filepath.Join(t.TempDir(), "stream.json")
	putStream(t, stream, web.URL, "content", "?token=old")
	h := start(t, t.TempDir(), booting("    stream: {file: "+stream+"}\n", "x86_64"), func(h *house) {
		h.guard.Loop(t.Context(), "artifacts", h.artifacts.Serve)
	})
	h.await(t, "the attempt with the old token", func(view) bool { return asked.Load() })
	putStream(t, stream, web.URL, "content", "?token=new")
	h.await(t, "the file", func(v view) bool {
		_, err := h.artifacts.Path(v.plan.Artifacts[0].Boots.File(plan.PartKernel))
		return err == nil
	})
}

// Who has installed a boot loader reads the same file again, and nodes get it.
func TestReloadFindsNewLoaders(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	text := booting("    arch: ppc64le\n    kernel: {file: /srv/kernel}\n    initramfs: {file: /srv/initramfs}\n    rootfs: {file: /srv/rootfs}\n", "ppc64le")
	h := start(t, t.TempDir(), text+"tftp: {root: "+root+"}\n", nil)
	loader := func() string { return h.view().plan.DHCP.Reservations[0].Boot.TFTP[plan.ArchPPC64] }
	if loader() != "" {
		netns.SkipOrFail(t, "this machine has GRUB for POWER")
	}
	file := filepath.Join(root, string(plan.GRUBPPC64))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("grub"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := (backend{h.Daemon}).Reload(); err != nil {
		t.Fatal(err)
	}
	if loader() != string(plan.GRUBPPC64) {
		t.Errorf("nodes are told to load %q", loader())
	}
}
