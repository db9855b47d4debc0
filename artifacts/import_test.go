package artifacts

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helperd/artifacts/fetch"
	"helperd/plan"
)

type entry struct {
	name string
	body []byte
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Size: int64(len(e.body)), Mode: 0o6777, Typeflag: tar.TypeReg}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: "link", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func outcomes(files []Imported) string {
	var s []string
	for _, f := range files {
		s = append(s, string(f.Outcome))
	}
	return strings.Join(s, ", ")
}

// offline is a web that answers nothing.
func offline(t *testing.T) *web {
	w := newWeb(t)
	w.before = func(rw http.ResponseWriter, _ *http.Request) bool { rw.WriteHeader(502); return true }
	return w
}

func TestImport(t *testing.T) {
	w := offline(t)
	v := newVersion(1)
	dir := dirOf(t)
	g := newRig(t, dir, nil)
	g.apply(yamlOf(w.URL, v))
	archive := tarOf(
		t, entry{"a/", nil}, entry{"../../../../etc/evil", v.kernel}, entry{"/root/x", v.initramfs},
		entry{"what.txt", []byte("nothing")}, entry{"thing.json", []byte("{}")}, entry{"a/rootfs", v.rootfs}, entry{"again", v.rootfs},
	)
	files, err := g.Import(t.Context(), bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := outcomes(files), "imported, imported, not wanted, not wanted, imported, already there"; got != want {
		t.Errorf("outcomes %s, want %s", got, want)
	}
	g.awaitAll()
	wantServed(t, g, v)
	eventually(t, "there are three files and artifacts.json, and nothing else", func() bool {
		n := 0
		err := filepath.WalkDir(filepath.Dir(dir), func(_ string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				n++
			}
			return err
		})
		return err == nil && n == 4
	})
}

// An archive that ends too early gives what was whole, and nothing of the rest.
func TestImportBrokenOff(t *testing.T) {
	w := offline(t)
	v := newVersion(1)
	g := newRig(t, dirOf(t), nil)
	g.apply(yamlOf(w.URL, v))
	archive := tarOf(t, entry{"kernel", v.kernel}, entry{"rootfs", v.rootfs})
	files, err := g.Import(t.Context(), bytes.NewReader(archive[:len(archive)/2]))
	if err == nil || !strings.HasPrefix(outcomes(files), "imported") {
		t.Errorf("%s, %v", outcomes(files), err)
	}
	g.await(plan.PartKernel, Present)
	if _, err := g.Path(g.boots().File(plan.PartRootfs)); err == nil {
		t.Error("half a rootfs is served")
	}
	if left, _ := filepath.Glob(filepath.Join(g.opt.Dir, "partial", fetch.ImportPrefix+"*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := g.Import(t.Context(), strings.NewReader("this is no archive at all, but it is quite long"+strings.Repeat(".", 1000))); err == nil {
		t.Error("no archive is taken for one")
	}
}

// A machine that never sees a network gets all from one archive: the stream says what the rest is.
func TestImportStream(t *testing.T) {
	w := offline(t)
	arches := map[string]version{"x86_64": newVersion(1), "aarch64": newVersion(11), "s390x": newVersion(21)}
	g := newRig(t, dirOf(t), nil)
	g.apply(streamYAML(fmt.Sprintf("url: %q", w.URL+"/stream.json")))
	entries := []entry{{"stream.json", streamJSON(w.URL, arches)}}
	for arch, v := range arches {
		entries = append(entries, entry{arch + "/kernel", v.kernel}, entry{arch + "/initramfs", v.initramfs}, entry{arch + "/rootfs", v.rootfs})
	}
	files, err := g.Import(t.Context(), bytes.NewReader(tarOf(t, entries...)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		want := Taken
		if strings.HasPrefix(f.Name, "s390x") {
			want = NotWanted
		}
		if f.Outcome != want {
			t.Errorf("%s: %s %s, want %s", f.Name, f.Outcome, f.Detail, want)
		}
	}
	bootsAll(t, g, arches)
	files, err = g.Import(t.Context(), bytes.NewReader(tarOf(t, entries[0])))
	if err != nil || outcomes(files) != "already there" {
		t.Errorf("once more: %s, %v", outcomes(files), err)
	}
}

func TestImportDiskFull(t *testing.T) {
	w := offline(t)
	v := newVersion(1)
	g := newRig(t, filepath.Join(smallDisk(t, 1<<20), "artifacts"), func(s *Store) { s.folder.Reserve = 0 })
	g.apply(yamlOf(w.URL, v))
	files, err := g.Import(t.Context(), bytes.NewReader(tarOf(t, entry{"rootfs", append(v.rootfs, make([]byte, 1<<20)...)}, entry{"kernel", v.kernel})))
	if err != nil || outcomes(files) != "failed, imported" || !strings.Contains(files[0].Detail, "disk is full") {
		t.Errorf("%+v, %v", files, err)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte("x"))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "a.json", Size: 2})
	_, _ = io.WriteString(w, "{}")
	_ = w.Close()
	f.Add(b.Bytes())
	g := newRig(f, dirOf(f), nil)
	g.apply(head)
	f.Fuzz(func(t *testing.T, b []byte) {
		files, _ := g.Import(t.Context(), bytes.NewReader(b))
		for _, file := range files {
			if file.Outcome == Taken {
				t.Errorf("%+v was taken, and nothing is wanted", file)
			}
		}
	})
}
