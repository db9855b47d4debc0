package artifacts

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

// wantServed compares what is served with v.
func wantServed(t *testing.T, g *rig, v version) {
	t.Helper()
	set := g.boots()
	for part, want := range map[string][]byte{plan.PartKernel: v.kernel, plan.PartInitramfs: v.initramfs, plan.PartRootfs: v.rootfs} {
		if got, err := g.has(set, part); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d", part, len(got), err, len(want))
		}
	}
}

func TestFetch(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	var agent atomic.Value
	w.before = func(_ http.ResponseWriter, r *http.Request) bool {
		agent.Store(r.UserAgent() + r.Header.Get("Accept-Encoding"))
		return false
	}
	g := newRig(t, dirOf(t), nil)
	g.apply(yamlOf(w.URL+"/a", v))
	for _, part := range []string{plan.PartKernel, plan.PartInitramfs, plan.PartRootfs} {
		r := g.await(part, Present)
		if r.Size == 0 || r.Done != r.Size || r.Use != Boots || r.Detail != "" {
			t.Errorf("row %+v", r)
		}
	}
	wantServed(t, g, v)
	if agent.Load() != "helperd/1.2.3" {
		t.Errorf("user agent and accepted encoding %q", agent.Load())
	}
	if k := g.kinds(); k[timeline.ArtifactReady] != 3 || k[timeline.ArtifactFailed] != 0 {
		t.Errorf("events %v", k)
	}
	first := w.requests()[0]
	if first != "/a/kernel" && first != "/a/initramfs" {
		t.Errorf("first was asked for %s", first)
	}
	for _, sum := range g.folder.Sums() {
		st, err := os.Stat(g.folder.Whole(sum))
		if err != nil || st.Mode().Perm() != 0o644 {
			t.Errorf("%v, %v", st.Mode(), err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(g.opt.Dir, "partial")); len(left) != 0 {
		t.Errorf("left of the downloads: %v", left)
	}

	// After a restart nothing is asked for, and all is served at once.
	g.stop()
	w.Close()
	again := newRig(t, g.opt.Dir, nil)
	again.apply(*g.yaml.Load())
	wantServed(t, again, v)
}

// A server that breaks off is asked for the rest, again and again.
func TestResume(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	cuts := 0
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/rootfs" || cuts > 0 {
			return false
		}
		cuts++
		rw.Header().Set("ETag", `"`+sumOf(v.rootfs)[:8]+`"`)
		cut(rw, v.rootfs, 4*len(v.rootfs)/10)
		return true
	}
	g := newRig(t, dirOf(t), nil)
	g.apply(yamlOf(w.URL+"/a", v))
	g.awaitAll()
	wantServed(t, g, v)
	want := fmt.Sprintf("/a/rootfs bytes=%d-", 4*len(v.rootfs)/10)
	if got := w.requests(); !slices.Contains(got, want) {
		t.Errorf("asked for %q, not for %q", got, want)
	}
}

// The file on the server changed between the two halves: If-Range makes it send
// the whole, and a server without that is found out by the checksum.
func TestResumeOfAChangedFile(t *testing.T) {
	for _, honest := range []bool{true, false} {
		t.Run(fmt.Sprintf("honest %v", honest), func(t *testing.T) {
			w := newWeb(t)
			v := newVersion(1)
			w.put("/a", v)
			old := noise(99, len(v.rootfs))
			var rootfs atomic.Int32
			w.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/a/rootfs" {
					return false
				}
				if rootfs.Add(1) == 1 {
					rw.Header().Set("ETag", `"old"`)
					cut(rw, old, len(old)/2)
				}
				if !honest {
					r.Header.Del("If-Range")
				}
				return false
			}
			g := newRig(t, dirOf(t), nil)
			g.apply(yamlOf(w.URL+"/a", v))
			g.awaitAll()
			wantServed(t, g, v)
			if k := g.kinds(); k[timeline.ArtifactFailed] > 1 {
				t.Errorf("%d failures are told; one broke off", k[timeline.ArtifactFailed])
			}
		})
	}
}

func TestOddServers(t *testing.T) {
	tests := []struct {
		name  string
		serve func(rw http.ResponseWriter, r *http.Request, content []byte, times int32) bool
	}{
		{"ranges ignored", func(rw http.ResponseWriter, _ *http.Request, content []byte, times int32) bool {
			if times == 1 {
				cut(rw, content, len(content)/3)
			}
			_, _ = rw.Write(content)
			return true
		}},
		{"503 at first", func(rw http.ResponseWriter, _ *http.Request, _ []byte, times int32) bool {
			if times < 4 {
				http.Error(rw, "later", http.StatusServiceUnavailable)
				return true
			}
			return false
		}},
		{"redirect", func(rw http.ResponseWriter, r *http.Request, _ []byte, times int32) bool {
			if r.URL.RawQuery == "" {
				http.Redirect(rw, r, "rootfs?really", http.StatusFound)
				return true
			}
			return false
		}},
		{"no length", func(rw http.ResponseWriter, _ *http.Request, content []byte, _ int32) bool {
			for len(content) > 0 {
				n := min(len(content), 100<<10)
				_, _ = rw.Write(content[:n])
				_ = http.NewResponseController(rw).Flush()
				content = content[n:]
			}
			return true
		}},
		{"wrong range", func(rw http.ResponseWriter, r *http.Request, content []byte, times int32) bool {
			switch times {
			case 1:
				cut(rw, content, len(content)/3)
			case 2:
				rw.Header().Set("Content-Range", fmt.Sprintf("bytes 0-99/%d", len(content)))
				rw.WriteHeader(http.StatusPartialContent)
				_, _ = rw.Write(content[:100])
				return true
			}
			return false
		}},
		{"404 for a while", func(rw http.ResponseWriter, r *http.Request, _ []byte, times int32) bool {
			if times < 3 {
				http.NotFound(rw, r)
				return true
			}
			return false
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWeb(t)
			v := newVersion(1)
			w.put("/a", v)
			var times atomic.Int32
			w.before = func(rw http.ResponseWriter, r *http.Request) bool {
				return r.URL.Path == "/a/rootfs" && tt.serve(rw, r, v.rootfs, times.Add(1))
			}
			g := newRig(t, dirOf(t), nil)
			g.apply(yamlOf(w.URL+"/a", v))
			g.awaitAll()
			wantServed(t, g, v)
		})
	}
}

// What people and clients are told while it does not work.
func TestFailuresInWords(t *testing.T) {
	tests := []struct {
		name  string
		serve http.HandlerFunc
		state State
		want  string
	}{
		{"not found", http.NotFound, Failed, "404 Not Found: it does not have the file; correct the url"},
		{"forbidden", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(403) }, Failed, "403 Forbidden"},
		{"down", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(502) }, Waiting, "502 Bad Gateway"},
		{"wrong content", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("hello")) }, Failed, "sha256 of what the server sends is 2cf24dba5fb0... and"},
		{"cut", func(rw http.ResponseWriter, _ *http.Request) { cut(rw, noise(1, 1000), 10) }, Waiting, "broke the connection off"},
		{"redirects for ever", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, r.URL.Path, http.StatusFound) }, Waiting, "more than 10 redirects"},
		{"silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Waiting, "nothing came for 200ms"},
		{"stalls", func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", "1000")
			_, _ = rw.Write(noise(1, 10))
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		}, Waiting, "nothing came for 200ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWeb(t)
			v := newVersion(1)
			w.put("/a", v)
			w.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/a/rootfs" {
					return false
				}
				tt.serve(rw, r)
				return true
			}
			g := newRig(t, dirOf(t), func(s *Store) {
				s.times.stall = 200 * time.Millisecond
				s.times.slow, s.times.retry = time.Hour, time.Hour
			})
			withUser := strings.Replace(w.URL, "http://", "http://user:geheim@", 1)
			g.apply(yamlOf(withUser+"/a", v))
			r := g.await(plan.PartRootfs, tt.state)
			eventually(t, "it has a problem", func() bool {
				r = g.await(plan.PartRootfs, tt.state)
				return strings.Contains(r.Detail, "tried again")
			})
			_, err := g.Path(g.boots().File(plan.PartRootfs))
			if err == nil {
				t.Fatal("it is served")
			}
			for _, text := range []string{r.Detail, err.Error(), g.failure("/rootfs")} {
				if !strings.Contains(text, tt.want) {
					t.Errorf("%q does not say %q", text, tt.want)
				}
				for _, secret := range []string{"geheim", g.opt.Dir, w.Listener.Addr().String()} {
					if strings.Contains(text, secret) {
						t.Errorf("%q tells of %s", text, secret)
					}
				}
			}
			if strings.Contains(r.Source, "geheim") || !strings.Contains(r.Source, "/a/rootfs") {
				t.Errorf("source %q", r.Source)
			}
			if got := g.await(plan.PartKernel, Present); got.State != Present {
				t.Error("one that fails keeps another from being fetched")
			}
		})
	}
}

// While a file comes, and comes wrongly, nothing of it is served.
func TestNothingUnverifiedIsServed(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	var times atomic.Int32
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/rootfs" {
			return false
		}
		content := v.rootfs
		if times.Add(1) < 4 { // one byte is wrong, the last
			content = slices.Clone(v.rootfs)
			content[len(content)-1] ^= 1
		}
		rw.Header().Set("Content-Length", fmt.Sprint(len(content)))
		for len(content) > 0 {
			n := min(len(content), 64<<10)
			_, _ = rw.Write(content[:n])
			_ = http.NewResponseController(rw).Flush()
			content = content[n:]
			time.Sleep(time.Millisecond)
		}
		return true
	}
	g := newRig(t, dirOf(t), nil)
	g.apply(yamlOf(w.URL+"/a", v))
	asked := 0
	for end := time.Now().Add(30 * time.Second); ; asked++ {
		got, err := g.has(g.boots(), plan.PartRootfs)
		if err == nil {
			if !bytes.Equal(got, v.rootfs) {
				t.Fatalf("%d bytes of something else were served", len(got))
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("the right file never came")
		}
	}
	if n := times.Load(); n < 4 || asked < 100 {
		t.Errorf("served after %d downloads and %d questions", n, asked)
	}
	if k := g.kinds(); k[timeline.ArtifactFailed] == 0 {
		t.Error("no event tells of the wrong content")
	}
}

// At most two at a time, however many there are.
func TestTwoAtATime(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	var now, most atomic.Int32
	w.before = func(http.ResponseWriter, *http.Request) bool {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(50 * time.Millisecond)
		return false
	}
	g := newRig(t, dirOf(t), nil)
	g.apply(yamlOf(w.URL+"/a", v))
	g.awaitAll()
	if most.Load() != 2 {
		t.Errorf("%d at a time", most.Load())
	}
	if last := w.requests()[2]; last != "/a/rootfs" {
		t.Errorf("the last was %s: a node needs kernel and initramfs first", last)
	}
}

// A file that is taken out of the configuration is fetched no further.
func TestDownloadStops(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	begun, gone := make(chan struct{}), make(chan struct{})
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/rootfs" {
			return false
		}
		rw.Header().Set("Content-Length", fmt.Sprint(len(v.rootfs)))
		_, _ = rw.Write(v.rootfs[:1000])
		_ = http.NewResponseController(rw).Flush()
		close(begun)
		<-r.Context().Done()
		close(gone)
		return true
	}
	g := newRig(t, dirOf(t), nil)
	g.apply(yamlOf(w.URL+"/a", v))
	select { // one that is called off before it reached the server is never seen there
	case <-begun:
	case <-time.After(20 * time.Second):
		t.Fatal("no download")
	}
	g.apply(head)
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("the download goes on")
	}
	eventually(t, "nothing is left", func() bool {
		g.compile()
		left, err := filepath.Glob(filepath.Join(g.opt.Dir, "*", "*"))
		return err == nil && len(left) == 0
	})
}
