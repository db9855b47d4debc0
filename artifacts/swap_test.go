package artifacts

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"helperd/plan"
)

// gate lets a test hold back one file of the web.
func (w *web) gate(path string) (open func()) {
	ch := make(chan struct{})
	w.set(func() {
		w.before = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == path {
				select {
				case <-ch:
				case <-r.Context().Done():
				}
			}
			return false
		}
	})
	return func() { close(ch) }
}

// Nodes boot the version before until all of the new one is here, and then all
// of that; who began with the version before finishes with it.
func TestVersionsAreSwappedWhole(t *testing.T) {
	w := newWeb(t)
	one, two := newVersion(1), newVersion(11)
	w.put("/one", one)
	w.put("/two", two)
	g := newRig(t, dirOf(t), nil)
	g.apply(yamlOf(w.URL+"/one", one))
	g.awaitAll()
	first := g.boots()
	g.busy.Store(true) // a node has booted the first version's kernel

	open := w.gate("/two/rootfs")
	g.apply(yamlOf(w.URL+"/two", two))
	eventually(t, "kernel and initramfs of the second version are here", func() bool {
		n := 0
		for _, r := range g.Rows() {
			if r.Use == Next && r.State == Present {
				n++
			}
		}
		return n == 2
	})
	if !g.boots().Same(first) {
		t.Fatal("nodes are told to boot a version that is not whole")
	}
	wantServed(t, g, one)
	next := g.served().Artifacts[0].Wanted
	if _, err := g.Path(next.File(plan.PartRootfs)); err == nil {
		t.Error("the rootfs is served before it is here")
	}

	reading, err := os.Open(must(g.Path(first.File(plan.PartRootfs)))) // a transfer under way
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	open()
	eventually(t, "the second version boots", func() bool { return g.boots().Same(next) })
	wantServed(t, g, two)
	for part, want := range map[string][]byte{plan.PartKernel: one.kernel, plan.PartInitramfs: one.initramfs, plan.PartRootfs: one.rootfs} {
		if got, err := g.has(first, part); err != nil || !bytes.Equal(got, want) {
			t.Errorf("a node in the middle of an installation does not get its %s: %v", part, err)
		}
	}
	served := map[string]bool{}
	for _, f := range g.served().HTTP.Files {
		served[f.Path] = true
	}
	for _, set := range []*plan.Set{first, next} {
		for _, f := range set.Files {
			if !served[f.Path] {
				t.Errorf("the web server does not know %s", f.Path)
			}
		}
	}

	g.busy.Store(false) // it has finished
	eventually(t, "the first version is gone", func() bool {
		_, err := g.Path(first.File(plan.PartRootfs))
		return err != nil && len(g.folder.Sums()) == 3 && len(g.served().Kept) == 0
	})
	if got, err := io.ReadAll(reading); err != nil || !bytes.Equal(got, one.rootfs) {
		t.Errorf("the transfer under way got %d bytes, %v", len(got), err)
	}
	wantServed(t, g, two)
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

// What was true before a restart is true after it.
func TestSwapGoesOnAfterARestart(t *testing.T) {
	w := newWeb(t)
	one, two := newVersion(1), newVersion(11)
	w.put("/one", one)
	w.put("/two", two)
	dir := dirOf(t)
	g := newRig(t, dir, nil)
	g.apply(yamlOf(w.URL+"/one", one))
	g.awaitAll()
	first := g.boots()
	w.gate("/two/rootfs")
	g.apply(yamlOf(w.URL+"/two", two))
	if !g.boots().Same(first) {
		t.Fatal("the new version boots at once")
	}
	g.stop()

	g = newRig(t, dir, nil)
	g.apply(yamlOf(w.URL+"/two", two))
	if !g.boots().Same(first) {
		t.Fatal("after a restart the new version boots, which is not whole")
	}
	wantServed(t, g, one)
	w.set(func() { w.before = nil })
	eventually(t, "the second version boots", func() bool { return !g.boots().Same(first) })
	wantServed(t, g, two)
}

// A URL that is corrected while the old one gives next to nothing is used at once.
func TestNewURLIsUsedAtOnce(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/slow", v)
	w.put("/fast", v)
	w.gate("/slow/rootfs")
	g := newRig(t, dirOf(t), nil)
	g.apply(yamlOf(w.URL+"/slow", v))
	g.await(plan.PartInitramfs, Present)
	g.await(plan.PartRootfs, Downloading)
	g.apply(yamlOf(w.URL+"/fast", v))
	begun := time.Now()
	g.await(plan.PartRootfs, Present)
	if took := time.Since(begun); took > g.times.header/2 {
		t.Errorf("the old URL was waited for, %s", took)
	}
	wantServed(t, g, v)
}

// A file that came just before nothing named it any more goes a little later.
func TestFreshFilesGoLater(t *testing.T) {
	w := newWeb(t)
	one, two := newVersion(1), newVersion(11)
	w.put("/one", one)
	w.put("/two", two)
	g := newRig(t, dirOf(t), func(s *Store) { s.times.fresh = 2 * time.Second })
	g.apply(yamlOf(w.URL+"/one", one))
	g.awaitAll()
	g.apply(yamlOf(w.URL+"/two", two))
	eventually(t, "the second version boots", func() bool { return g.boots().Same(g.served().Artifacts[0].Wanted) })
	eventually(t, "the files of the first are gone", func() bool { return len(g.folder.Sums()) == 3 })
	wantServed(t, g, two)
}

// Who changes the file back finds the old version still there.
func TestBackToTheVersionBefore(t *testing.T) {
	w := newWeb(t)
	one, two := newVersion(1), newVersion(11)
	w.put("/one", one)
	w.put("/two", two)
	g := newRig(t, dirOf(t), func(s *Store) { s.times.linger = time.Hour })
	g.apply(yamlOf(w.URL+"/one", one))
	g.awaitAll()
	first := g.boots()
	g.apply(yamlOf(w.URL+"/two", two))
	eventually(t, "the second version boots", func() bool { return !g.boots().Same(first) })
	n := len(w.requests())
	g.apply(yamlOf(w.URL+"/one", one))
	if !g.boots().Same(first) {
		t.Error("it is not back at once")
	}
	wantServed(t, g, one)
	if got := len(w.requests()); got != n {
		t.Errorf("%d more requests", got-n)
	}
}
