package http

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/boot"
	"helperd/internal/netns"
	"helperd/nodes"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

func TestArtifacts(t *testing.T) {
	g := newRig(t, nil)
	whole := string(g.put(t, "vmlinuz", 100_000))
	first := g.do(t, "GET", farAddr, kernelPath)
	tag, modified := first.Header.Get("Etag"), first.Header.Get("Last-Modified")
	if first.StatusCode != 200 || first.body != whole || tag == "" || first.Header.Get("Accept-Ranges") != "bytes" {
		t.Fatalf("%s %v", first.Status, first.Header)
	}
	old := time.Now().Add(-time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	tests := []struct {
		name    string
		method  string
		headers []string
		status  int
		body    string
		is      string // a header as "Name: value"
	}{
		{"HEAD", "HEAD", nil, 200, "", "Content-Length: 100000"},
		{"unchanged by tag", "GET", []string{"If-None-Match: " + tag}, 304, "", "Etag: " + tag},
		{"unchanged by tag, of several", "GET", []string{`If-None-Match: "x", ` + tag}, 304, "", ""},
		{"another tag", "GET", []string{`If-None-Match: "x"`}, 200, whole, ""},
		{"unchanged by time", "GET", []string{"If-Modified-Since: " + modified}, 304, "", ""},
		{"changed by time", "GET", []string{"If-Modified-Since: " + old}, 200, whole, ""},
		{"If-Match", "GET", []string{`If-Match: "x"`}, 412, "", ""},
		{"first bytes", "GET", []string{"Range: bytes=0-99"}, 206, whole[:100], "Content-Range: bytes 0-99/100000"},
		{"one byte", "GET", []string{"Range: bytes=5-5"}, 206, whole[5:6], ""},
		{"the rest", "GET", []string{"Range: bytes=99990-"}, 206, whole[99990:], "Content-Range: bytes 99990-99999/100000"},
		{"last bytes", "GET", []string{"Range: bytes=-10"}, 206, whole[99990:], ""},
		{"beyond the end", "GET", []string{"Range: bytes=99990-200000"}, 206, whole[99990:], ""},
		{"behind the end", "GET", []string{"Range: bytes=100000-"}, 416, "", "Content-Range: bytes */100000"},
		{"HEAD of a range", "HEAD", []string{"Range: bytes=0-99"}, 200, "", "Content-Length: 100000"},
		{"If-Range, unchanged", "GET", []string{"Range: bytes=0-99", "If-Range: " + tag}, 206, whole[:100], ""},
		{"If-Range, changed", "GET", []string{"Range: bytes=0-99", `If-Range: "x"`}, 200, whole, ""},
		{"If-Range by time", "GET", []string{"Range: bytes=0-99", "If-Range: " + modified}, 206, whole[:100], ""},
		{"other units", "GET", []string{"Range: lines=0-99"}, 200, whole, ""},
		{"write", "POST", nil, 405, "", "Allow: GET, HEAD"},
		{"delete", "DELETE", nil, 405, "", "Allow: GET, HEAD"},
		{"trace", "TRACE", nil, 405, "", "Allow: GET, HEAD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := g.do(t, tt.method, farAddr, kernelPath, tt.headers...)
			if a.StatusCode != tt.status {
				t.Fatalf("%s, want %d", a.Status, tt.status)
			}
			if tt.status < 300 && a.body != tt.body {
				t.Errorf("%d bytes, want %d; or they differ", len(a.body), len(tt.body))
			}
			if name, want, ok := strings.Cut(tt.is, ": "); ok && a.Header.Get(name) != want {
				t.Errorf("%s is %q, want %q", name, a.Header.Get(name), want)
			}
		})
	}
	// The same size within the same second is another file all the same.
	g.write(t, "vmlinuz", strings.Repeat("x", 100_000))
	if a := g.do(t, "GET", farAddr, kernelPath, "If-None-Match: "+tag); a.StatusCode != 200 || a.Header.Get("Etag") == tag {
		t.Errorf("after a change: %s, tag %s", a.Status, a.Header.Get("Etag"))
	}
}

func TestMissingArtifact(t *testing.T) {
	g := newRig(t, func(g *rig) {
		g.plan.HTTP.Files = append(g.plan.HTTP.Files, plan.File{Path: "/artifacts/far/kernel", URL: "http://mirror.example.com/kernel"})
	})
	file := filepath.Join(g.dir, "vmlinuz")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for path, why := range map[string]string{kernelPath: "put the file", "/artifacts/far/kernel": "is not on the helper yet"} {
		a := g.do(t, "GET", workerAddr, path)
		if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, why) || strings.Contains(a.body, g.dir) {
			t.Errorf("%s: %s: %s", path, a.Status, a.body)
		}
		if e := g.seen(t, timeline.HTTPMiss, path); e.Node != g.worker.FQDN {
			t.Errorf("event %+v", e)
		}
	}
	s := g.Status()
	if s.State != services.Degraded || !strings.Contains(s.Problem, file) || !strings.Contains(s.Problem, "/artifacts/far/kernel") {
		t.Errorf("status %+v", s)
	}
	if err := os.Mkdir(file, 0o755); err != nil {
		t.Fatal(err)
	}
	if s := g.Status(); !strings.Contains(s.Problem, file+": not a file; put the file there") {
		t.Errorf("a folder in place of the file: status %+v", s)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	g.write(t, "vmlinuz", "kernel")
	if a := g.do(t, "GET", workerAddr, kernelPath); a.StatusCode != 200 || a.body != "kernel" {
		t.Errorf("after the file appeared: %s", a.Status)
	}
	if s := g.Status(); strings.Contains(s.Problem, file) {
		t.Errorf("status still says %q", s.Problem)
	}
}

func TestOwnFiles(t *testing.T) {
	g := newRig(t, nil)
	g.write(t, "secret", "outside")
	g.write(t, "root/sub/f.txt", "inside")
	g.write(t, "root/.hidden", "hidden")
	g.write(t, "root/sub/.hidden/f", "hidden")
	g.write(t, "root/a b&<c>.txt", "odd")
	g.write(t, "root/50%.txt", "percent")
	for from, to := range map[string]string{
		"absolute": filepath.Join(g.dir, "secret"), "relative": "../secret", "folder": "..", "within": "sub/f.txt", "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(g.dir, "root", from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(g.dir, "root", "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for target, status := range map[string]int{
		"/sub/f.txt":                          200,
		"//sub///f.txt":                       200,
		"/sub%2ff.txt":                        200,
		"/within":                             200,
		"/a%20b&%3Cc%3E.txt":                  200,
		"/50%25.txt":                          200,
		"/sub/f.txt?token=x":                  200,
		"/sub/":                               200,
		"/":                                   200,
		"/sub":                                301,
		"/nope":                               404,
		"/sub/f.txt/":                         404,
		"/sub/f.txt/x":                        404,
		"/../secret":                          404,
		"/sub/../../secret":                   404,
		"/sub/../sub/f.txt":                   404,
		"/./sub/f.txt":                        404,
		"/%2e%2e/secret":                      404,
		"/%2e%2e%2fsecret":                    404,
		"/..%2fsecret":                        404,
		"/..%5csecret":                        404,
		"/sub%5c..%5c..%5csecret":             404,
		"/%252e%252e/secret":                  404,
		"/..%c0%afsecret":                     404,
		"/sub/f.txt%00.html":                  404,
		"/.hidden":                            404,
		"/%2ehidden":                          404,
		"/sub/.hidden/f":                      404,
		"/sub/.hidden/":                       404,
		"/absolute":                           404,
		"/relative":                           404,
		"/folder/secret":                      404,
		"/folder/":                            404,
		"/loop":                               404,
		"/fifo":                               404,
		"/" + strings.Repeat("a", 5000):       404,
		"/.well-known/helperd":                204,
		"/.well-known/other":                  404,
		"/artifacts/rhcos/%6bernel":           200,
		"/artifacts/rhcos/../rhcos/kernel":    404,
		"/artifacts/":                         404,
		"/ignition/ocp4.example.com/":         404,
		"//ignition/ocp4.example.com/x/.ign":  404,
		"//ignition//ocp4.example.com/worker": 404,
	} {
		a := g.raw(t, poolAddr, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if a.StatusCode != status || strings.Contains(a.body, "outside") || strings.Contains(a.body, "hidden") {
			t.Errorf("%.60s: %s, want %d: %.80q", target, a.Status, status, a.body)
		}
	}
	page := g.do(t, "GET", poolAddr, "/").body
	for _, want := range []string{`href="./sub/"`, `href="./a%20b&amp;%3Cc%3E.txt"`, "a b&amp;&lt;c&gt;.txt", `href="./50%25.txt"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the listing lacks %s:\n%s", want, page)
		}
	}
	if strings.Contains(page, "<c>") {
		t.Errorf("a name became markup:\n%s", page)
	}
	if a := g.do(t, "GET", poolAddr, "/sub"); a.Header.Get("Location") != "/sub/" {
		t.Errorf("redirected to %q", a.Header.Get("Location"))
	}
	p := *g.plan
	p.HTTP.Listing = false
	g.apply(t, &p)
	for _, target := range []string{"/", "/sub/", "/sub"} {
		if a := g.do(t, "GET", poolAddr, target); a.StatusCode != 404 {
			t.Errorf("without listing, %s: %s", target, a.Status)
		}
	}
	// Misses of nodes are events, those of browsers are not.
	g.do(t, "GET", workerAddr, "/nope\x1b[31m"[:5])
	g.seen(t, timeline.HTTPMiss, "/nope")
	for _, e := range g.events.Since(0) {
		if e.Kind == timeline.HTTPMiss && e.Node == "" {
			t.Errorf("event %+v", e)
		}
	}
}

func TestScripts(t *testing.T) {
	g := newRig(t, nil)
	script := "/boot/52-54-00-00-00-02.ipxe"
	phase := func() nodes.Phase { return g.host.Nodes.State(g.worker).Phase }
	if a := g.do(t, "GET", farAddr, script); a.StatusCode != 403 {
		t.Errorf("from outside: %s", a.Status)
	}
	g.host.Nodes.Acked(g.worker.MACs[0], g.worker.IP)
	g.do(t, "HEAD", workerAddr, script)
	if a := g.do(t, "GET", poolAddr, script); strings.Contains(a.body, "token=") || !strings.Contains(a.body, kernelPath) {
		t.Errorf("a browser got %s", a.body)
	}
	if phase() != nodes.Armed {
		t.Errorf("phase %s after nobody but strangers asked", phase())
	}
	a := g.do(t, "GET", workerAddr, script)
	if a.StatusCode != 200 || !strings.Contains(a.body, "token=") || a.Header.Get("Cache-Control") != "no-store" || phase() != nodes.Installing {
		t.Errorf("%s %v, phase %s: %s", a.Status, a.Header, phase(), a.body)
	}
	g.seen(t, timeline.HTTPGet, script)
	if a := g.do(t, "GET", workerAddr, "/boot/52-54-00-00-00-77.ipxe"); a.StatusCode != 404 {
		t.Errorf("script of nobody: %s", a.Status)
	}
	if a := g.do(t, "GET", workerAddr, "/boot/ipxe"); a.StatusCode != 200 || !strings.HasPrefix(a.body, "#!ipxe") {
		t.Errorf("dispatcher: %s", a.Status)
	}
}

func TestLoaders(t *testing.T) {
	g := newRig(t, func(g *rig) {
		g.plan.DHCP.Reservations = []plan.Reservation{{
			Node: g.worker.FQDN,
			Boot: &plan.BootFiles{HTTP: map[uint16]string{plan.ArchHTTPArm64: "http://127.0.0.2:8080/boot/" + string(plan.SNPOnlyAA64)}},
		}}
	})
	found := boot.FindLoaders()
	for l, path := range found {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if a := g.do(t, "GET", workerAddr, "/boot/"+string(l)); a.StatusCode != 200 || a.body != string(want) {
			t.Errorf("%s: %s, %d bytes", l, a.Status, len(a.body))
		}
	}
	for _, m := range boot.Missing(found) {
		a := g.do(t, "GET", workerAddr, "/boot/"+string(m.Loader))
		if a.StatusCode != 503 || !strings.Contains(a.body, m.Debian) || !strings.Contains(a.body, m.Fedora) {
			t.Errorf("%s: %s: %s", m.Loader, a.Status, a.body)
		}
		if p := g.Status().Problem; m.Loader == plan.SNPOnlyAA64 && !strings.Contains(p, m.String()) {
			t.Errorf("status says %q and not %s", p, m)
		}
	}
}

// A loader that an artifact brings is not this machine's to have.
func TestVendorLoadersAreNotMissed(t *testing.T) {
	missing := boot.Missing(boot.FindLoaders())
	if len(missing) == 0 {
		t.Log("this machine has all loaders: none can be taken for missing")
	}
	for _, m := range missing {
		g := newRig(t, func(g *rig) {
			g.plan.DHCP.Reservations = []plan.Reservation{{
				Node: g.worker.FQDN,
				Boot: &plan.BootFiles{HTTP: map[uint16]string{plan.ArchHTTPArm64: "http://127.0.0.2:8080/artifacts/rhcos/loader/" + string(m.Loader)}},
			}}
		})
		if p := g.Status().Problem; strings.Contains(p, m.String()) {
			t.Errorf("status says %q of an artifact's own loader", p)
		}
	}
}

// The user's own files come before what is for any machine.
func TestOwnBeforeGeneral(t *testing.T) {
	g := newRig(t, nil)
	if a := g.do(t, "GET", workerAddr, "/fedora/grub.cfg"); !strings.Contains(a.body, "net_default_mac") {
		t.Errorf("the dispatcher is %s", a.body)
	}
	g.write(t, "root/fedora/grub.cfg", "my menu")
	if a := g.do(t, "GET", workerAddr, "/fedora/grub.cfg"); a.body != "my menu" {
		t.Errorf("got %q, want the user's own", a.body)
	}
	g.write(t, "root/boot/"+string(plan.SNPOnly64), "my own")
	if a := g.do(t, "GET", workerAddr, "/boot/"+string(plan.SNPOnly64)); a.body != "my own" {
		t.Errorf("%s, %d bytes", a.Status, len(a.body))
	}
}

func TestCurl(t *testing.T) {
	netns.Tools(t, "curl")
	g := newRig(t, nil)
	want := g.put(t, "rootfs.img", 3<<20)
	out := filepath.Join(t.TempDir(), "out")
	// As the installer does: broken off, then resumed.
	if err := os.WriteFile(out, want[:1_000_000], 0o644); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), "curl", "-sSf", "-C", "-", "--interface", workerAddr, "-o", out, "http://"+g.server.String()+rootfsPath).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != string(want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if e := g.seen(t, timeline.HTTPGet, rootfsPath); e.Bytes != int64(len(want)) || e.Total != e.Bytes || e.Node != g.worker.FQDN {
		t.Errorf("event %+v", e)
	}
}
