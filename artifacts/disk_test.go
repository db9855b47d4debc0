package artifacts

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/artifacts/fetch"
	"helperd/internal/netns"
	"helperd/plan"
	"helperd/timeline"
)

// smallDisk is a file system of size bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		netns.SkipOrFail(t, "mount a small tmpfs: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A full disk is a state, and the download goes on when there is space.
func TestDiskFull(t *testing.T) {
	for _, told := range []bool{true, false} { // whether the server says how long the file is
		t.Run(fmt.Sprintf("length known %v", told), func(t *testing.T) {
			w := newWeb(t)
			v := newVersion(1)
			w.put("/a", v)
			w.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if told {
					return false
				}
				_ = http.NewResponseController(rw).Flush() // no Content-Length
				_, _ = rw.Write(w.files[r.URL.Path])
				return true
			}
			disk := smallDisk(t, 2<<20)
			ballast := filepath.Join(disk, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			g := newRig(t, filepath.Join(disk, "artifacts"), func(s *Store) { s.folder.Reserve = 64 << 10 })
			g.apply(yamlOf(w.URL+"/a", v))
			r := g.await(plan.PartRootfs, DiskFull)
			want := "the helper's disk is full: "
			if told {
				want = " KiB more must be free"
			}
			if !strings.Contains(r.Detail, want) {
				t.Errorf("detail %q does not say %q", r.Detail, want)
			}
			g.await(plan.PartKernel, Present) // smaller, and there is room
			g.await(plan.PartInitramfs, Present)
			if k := g.kinds(); k[timeline.ArtifactFailed] == 0 {
				t.Error("no event")
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			g.awaitAll()
			wantServed(t, g, v)
		})
	}
}

// A file of unknown length that does not fit is not written and thrown away again and again.
func TestUnknownLengthIsNotTriedInVain(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/rootfs" {
			return false
		}
		_ = http.NewResponseController(rw).Flush() // no Content-Length
		for b := range slices.Chunk(v.rootfs, 16<<10) {
			_, _ = rw.Write(b)
		}
		return true
	}
	disk := smallDisk(t, 1<<20)
	g := newRig(t, filepath.Join(disk, "artifacts"), func(s *Store) { s.folder.Reserve = 64 << 10 })
	g.apply(yamlOf(w.URL+"/a", v))
	g.await(plan.PartRootfs, DiskFull)
	attempts := func() (n int) {
		for _, r := range w.requests() {
			if strings.HasPrefix(r, "/a/rootfs") {
				n++
			}
		}
		return n
	}
	most := int64(0)
	for end := time.Now().Add(10 * time.Second); attempts() < 6 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if st, err := os.Stat(g.folder.Partial(sumOf(v.rootfs))); err == nil && attempts() > 2 {
			most = max(most, st.Size())
		}
	}
	if most > 0 {
		t.Errorf("attempt after attempt writes %d bytes to a disk that is too small", most)
	}
}

// Under a quota there is space to see, and each attempt writes until it is reached.
func TestQuotaIsTriedRarely(t *testing.T) {
	g := newRig(t, dirOf(t), nil)
	if err := g.folder.Make(); err != nil {
		t.Fatal(err)
	}
	it := &item{names: []plan.File{{Path: "/a"}}, size: 1000}
	g.mu.Lock()
	defer g.mu.Unlock()
	for range 12 {
		it.gained = true
		g.failed(it, fetch.Full(0, 1000))
	}
	if wait := time.Until(it.next); wait < 50*g.times.slow || it.problem.Need != 0 {
		t.Errorf("tried again in %s, or with %d bytes free", wait, it.problem.Need)
	}
}

// A disk that fills up while the download writes.
func TestDiskFillsUp(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	disk := smallDisk(t, 2<<20)
	ballast := filepath.Join(disk, "ballast")
	half := make(chan struct{})
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/rootfs" {
			return false
		}
		select {
		case <-half:
			return false
		default:
		}
		rw.Header().Set("Content-Length", fmt.Sprint(len(v.rootfs)))
		_, _ = rw.Write(v.rootfs[:100<<10])
		_ = http.NewResponseController(rw).Flush()
		time.Sleep(50 * time.Millisecond)
		_ = os.WriteFile(ballast, make([]byte, 4<<20), 0o600) // as much as fits
		close(half)
		_, _ = rw.Write(v.rootfs[100<<10:])
		return true
	}
	g := newRig(t, filepath.Join(disk, "artifacts"), func(s *Store) { s.folder.Reserve = 0 })
	g.apply(yamlOf(w.URL+"/a", v))
	g.await(plan.PartRootfs, DiskFull)
	if err := os.WriteFile(filepath.Join(disk, "lease"), []byte("x"), 0o600); err != nil {
		t.Errorf("the download leaves no space for others: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	g.awaitAll()
	wantServed(t, g, v)
}

// A version that nobody needs makes room for the next.
func TestOldVersionMakesRoom(t *testing.T) {
	w := newWeb(t)
	one, two := newVersion(1), newVersion(11)
	two.rootfs = noise(13, 1200<<10)
	w.put("/one", one)
	w.put("/two", two)
	w.put("/three", version{two.kernel, two.initramfs, noise(33, 1300<<10)})
	three := version{two.kernel, two.initramfs, noise(33, 1300<<10)}
	disk := smallDisk(t, 3400<<10) // for two of them
	g := newRig(t, filepath.Join(disk, "artifacts"), func(s *Store) {
		s.folder.Reserve = 64 << 10
		s.times.linger = time.Hour
	})
	for _, next := range []struct {
		dir string
		version
	}{{"/one", one}, {"/two", two}, {"/three", three}} {
		g.apply(yamlOf(w.URL+next.dir, next.version))
		eventually(t, next.dir+" boots", func() bool {
			got, err := g.has(g.boots(), plan.PartRootfs)
			return err == nil && bytes.Equal(got, next.rootfs)
		})
	}
}

// A full disk takes no version away from a node that is in the middle of an installation.
func TestFullDiskLeavesNodesTheirVersion(t *testing.T) {
	w := newWeb(t)
	one, two, three := newVersion(1), newVersion(11), newVersion(21)
	w.put("/one", one)
	w.put("/two", two)
	w.put("/three", three)
	disk := smallDisk(t, 3500<<10)
	g := newRig(t, filepath.Join(disk, "artifacts"), func(s *Store) {
		s.folder.Reserve = 0
		s.times.linger = time.Hour
	})
	g.busy.Store(true)
	g.apply(yamlOf(w.URL+"/one", one))
	g.awaitAll()
	first := g.boots()
	g.apply(yamlOf(w.URL+"/two", two))
	eventually(t, "the second version boots", func() bool { return !g.boots().Same(first) })
	g.apply(yamlOf(w.URL+"/three", three))
	g.await(plan.PartRootfs, DiskFull)
	time.Sleep(4 * g.times.poll)
	if got, err := g.has(first, plan.PartRootfs); err != nil || !bytes.Equal(got, one.rootfs) {
		t.Fatalf("the node does not get its rootfs: %v", err)
	}
	g.busy.Store(false)
	eventually(t, "the third version boots", func() bool { return g.boots().Same(g.served().Artifacts[0].Wanted) })
	wantServed(t, g, three)
}

func TestReadOnlyDisk(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	disk := smallDisk(t, 4<<20)
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	g := newRig(t, filepath.Join(disk, "artifacts"), func(s *Store) { s.folder.Reserve = 0 })
	g.apply(yamlOf(w.URL+"/a", v))
	if r := g.await(plan.PartRootfs, Failed); !strings.Contains(r.Detail, "read-only file system") {
		t.Errorf("detail %q", r.Detail)
	}
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	g.awaitAll()
	wantServed(t, g, v)
}

// Who empties the store's folder gets the files anew.
func TestRemovedFile(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	g := newRig(t, dirOf(t), nil)
	g.apply(yamlOf(w.URL+"/a", v))
	g.awaitAll()
	for _, sum := range g.folder.Sums() {
		if err := os.Remove(g.folder.Whole(sum)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all is here again", func() bool { return len(g.folder.Sums()) == 3 })
	g.awaitAll()
	wantServed(t, g, v)
}

// What keeps the helper from reading a file is no damage to it.
func TestDamaged(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EIO: true, unix.EUCLEAN: true, unix.EMFILE: false, unix.ENFILE: false, unix.ENOMEM: false, unix.EACCES: false, nil: false,
	} {
		if got := damaged(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// Bytes that change on the disk are found after a start, and fetched again.
func TestDamagedFile(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	dir := dirOf(t)
	g := newRig(t, dir, nil)
	g.apply(yamlOf(w.URL+"/a", v))
	g.awaitAll()
	g.stop()
	path := g.folder.Whole(sumOf(v.rootfs))
	if err := os.WriteFile(path, v.rootfs[:len(v.rootfs)-1], 0o644); err != nil {
		t.Fatal(err)
	}
	g = newRig(t, dir, nil)
	g.apply(yamlOf(w.URL+"/a", v))
	eventually(t, "it is mended", func() bool {
		got, err := g.has(g.boots(), plan.PartRootfs)
		return err == nil && bytes.Equal(got, v.rootfs)
	})
	if k := g.kinds(); k[timeline.ArtifactFailed] != 1 || k[timeline.ArtifactReady] != 1 {
		t.Errorf("events %v", k)
	}
}
