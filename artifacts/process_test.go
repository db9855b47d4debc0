package artifacts

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"helperd/artifacts/fetch"
)

func newTLS(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	return s
}

// childDir names the folder of the store of a process that a test starts.
const childDir = "HELPERD_TEST_ARTIFACTS"

// TestChild is the process that other tests start: a store that fetches what
// its standard input says until it is killed or all is here.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return // it is not that process
	}
	yaml, err := os.ReadFile(os.Getenv(childDir + "_YAML"))
	if err != nil {
		t.Fatal(err)
	}
	g := newRig(t, dir, nil)
	g.apply(string(yaml))
	fmt.Println("started")
	g.awaitAll()
	fmt.Println("all is here")
}

func child(t *testing.T, dir, yaml string, env ...string) (cmd *exec.Cmd, said *bufio.Scanner) {
	t.Helper()
	file := t.TempDir() + "/helper.yaml"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(os.Args[0], "-test.run", "^TestChild$")
	cmd.Env = append(append(os.Environ(), childDir+"="+dir, childDir+"_YAML="+file), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

// A process that is killed in the middle of a download goes on where it was.
func TestKilledInTheMiddle(t *testing.T) {
	w := newWeb(t)
	v := newVersion(1)
	w.put("/a", v)
	dir := dirOf(t)
	half := make(chan struct{})
	var once atomic.Bool
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/a/rootfs" || once.Swap(true) {
			return false
		}
		rw.Header().Set("ETag", `"`+sumOf(v.rootfs)[:8]+`"`)
		rw.Header().Set("Content-Length", fmt.Sprint(len(v.rootfs)))
		_, _ = rw.Write(v.rootfs[:600<<10])
		_ = http.NewResponseController(rw).Flush()
		close(half)
		<-r.Context().Done()
		return true
	}
	yaml := yamlOf(w.URL+"/a", v)
	cmd, _ := child(t, dir, yaml)
	<-half
	d := fetch.Folder{Dir: dir}
	eventually(t, "the first half is on the disk", func() bool {
		st, err := os.Stat(d.Partial(sumOf(v.rootfs)))
		return err == nil && st.Size() == 600<<10
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	g := newRig(t, dir, nil)
	g.apply(yaml)
	g.awaitAll()
	wantServed(t, g, v)
	if got, want := w.requests(), fmt.Sprintf("/a/rootfs bytes=%d-", 600<<10); !slices.Contains(got, want) {
		t.Errorf("asked for %q, not for %q", got, want)
	}
}

// The proxy of the environment is asked, for what is not on this machine.
func TestProxy(t *testing.T) {
	v := newVersion(1)
	files := map[string][]byte{"/kernel": v.kernel, "/initramfs": v.initramfs, "/rootfs": v.rootfs}
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "mirror.test" {
			http.Error(rw, "not by me", http.StatusBadGateway)
			return
		}
		if user := r.Header.Get("Proxy-Authorization"); !strings.HasPrefix(user, "Basic ") {
			rw.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		asked.Add(1)
		http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(files[r.URL.Path]))
	}))
	defer proxy.Close()
	dir := dirOf(t)
	cmd, said := child(t, dir, yamlOf("http://mirror.test", v), "HTTP_PROXY="+strings.Replace(proxy.URL, "//", "//user:geheim@", 1), "NO_PROXY=other.test")
	for said.Scan() && said.Text() != "all is here" {
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	g := newRig(t, dir, nil)
	g.apply(yamlOf("http://mirror.test", v))
	wantServed(t, g, v)
	if asked.Load() != 3 {
		t.Errorf("the proxy was asked %d times", asked.Load())
	}
}
