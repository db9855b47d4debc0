package rig

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"helperd/artifacts"
)

// Web is a server of artifacts on the internet, that is, in the router's namespace.
type Web struct {
	URL string // without a trailing slash

	mu    sync.Mutex
	files map[string][]byte
	held  map[string]chan struct{}
}

// Web starts such a server.
func (r *Rig) Web(t testing.TB) *Web {
	t.Helper()
	w := &Web{URL: "http://" + r.network(r.Address).Gateway + ":8000", files: map[string][]byte{}, held: map[string]chan struct{}{}}
	var l net.Listener
	r.Router.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp4", strings.TrimPrefix(w.URL, "http://")); err != nil {
			t.Fatal(err)
		}
	})
	srv := &http.Server{Handler: w, ReadHeaderTimeout: time.Minute}
	t.Cleanup(func() { _ = srv.Close() })
	r.guard.Go("web", func() { _ = srv.Serve(l) })
	return w
}

// Put makes content the file at path.
func (w *Web) Put(path string, content []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[path] = content
}

// Hold makes whoever asks for path wait until release is called.
func (w *Web) Hold(path string) (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := make(chan struct{})
	w.held[path] = ch
	return sync.OnceFunc(func() { close(ch) })
}

// ServeHTTP breaks off the first answer of every large file at 40 percent.
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	content, held := w.files[r.URL.Path], w.held[r.URL.Path]
	w.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-r.Context().Done():
			return
		}
	}
	if content == nil {
		http.NotFound(rw, r)
		return
	}
	if r.Header.Get("Range") == "" && len(content) > 1<<20 {
		rw.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = rw.Write(content[:len(content)*4/10])
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(rw, r, "", time.Time{}, strings.NewReader(string(content)))
}

// Artifacts is `helperd artifacts -o json`.
func (r *Rig) Artifacts(t testing.TB) []artifacts.Row {
	t.Helper()
	var rows []artifacts.Row
	r.query(t, &rows, "artifacts")
	return rows
}

// Import is `helperd artifacts import PATH`; its output is the table.
func (r *Rig) Import(path string) (string, error) {
	out, err := r.ctl("artifacts", "import", path)
	return string(out), err
}
