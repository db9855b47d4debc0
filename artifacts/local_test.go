package artifacts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

// A file of the user's with a checksum is served while it is what it was when it was verified.
func TestLocalFileWithChecksum(t *testing.T) {
	dir := t.TempDir()
	v := newVersion(1)
	name := func(part string) string { return filepath.Join(dir, part) }
	put := func(part string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name(part)+".new", b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name(part)+".new", name(part)); err != nil {
			t.Fatal(err)
		}
	}
	put("kernel", v.kernel)
	put("initramfs", v.initramfs)
	yaml := head + fmt.Sprintf(`artifacts:
  - name: rhcos
    kernel: {file: %s, sha256: %s}
    initramfs: {file: %s}
    rootfs: {file: %s, sha256: %s}
`, name("kernel"), strings.ToUpper(sumOf(v.kernel)), name("initramfs"), name("rootfs"), sumOf(v.rootfs)) + nodes
	g := newRig(t, dirOf(t), func(s *Store) { s.times.slow = time.Hour }) // a file that was put right does not wait for it
	g.apply(yaml)
	g.await(plan.PartKernel, Present)
	if p := g.boots().File(plan.PartKernel).Path; p != "/artifacts/rhcos/kernel" {
		t.Errorf("files of this machine have the path %s", p)
	}
	g.await(plan.PartInitramfs, Present)
	r := g.await(plan.PartRootfs, Missing)
	if !strings.Contains(r.Detail, "not on the helper; put the file where the configuration says") {
		t.Errorf("detail %q", r.Detail)
	}

	put("rootfs", noise(9, 5000))
	r = g.await(plan.PartRootfs, Failed)
	if _, err := g.Path(g.boots().File(plan.PartRootfs)); err == nil || strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "is not served") {
		t.Errorf("wrong content: %v", err)
	}
	if k := g.kinds(); k[timeline.ArtifactFailed] < 2 {
		t.Errorf("events %v", k)
	}
	put("rootfs", v.rootfs)
	g.awaitAll()
	wantServed(t, g, v)

	put("rootfs", noise(10, len(v.rootfs)))
	if _, err := g.Path(g.boots().File(plan.PartRootfs)); err == nil {
		t.Fatal("a file that was exchanged is served")
	}
	g.await(plan.PartRootfs, Failed)
	put("rootfs", v.rootfs)
	g.awaitAll()

	// After a restart it is known, and served at once.
	g.stop()
	again := newRig(t, g.opt.Dir, func(s *Store) { s.times.poll = time.Hour })
	again.apply(yaml)
	wantServed(t, again, v)
}
