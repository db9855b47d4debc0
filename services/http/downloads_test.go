package http

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helperd/services"
	"helperd/timeline"
)

// record is a line of the download log.
type record struct {
	Time     time.Time
	IP       string
	Node     string
	Method   string
	File     string
	Status   int
	From     int64
	Bytes    int64
	Size     int64
	MS       int64
	Complete bool
	TLS      bool
	Agent    string
	Omitted  int64
}

// logged gives the lines of the download log.
func (g *rig) logged(t testing.TB) []record {
	t.Helper()
	f, err := os.Open(filepath.Join(g.dir, downloadLog))
	if err != nil {
		return nil // nothing is written yet
	}
	defer f.Close()
	var out []record
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r record
		d := json.NewDecoder(strings.NewReader(lines.Text()))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		out = append(out, r)
	}
	return out
}

// line waits for a line about a file.
func (g *rig) line(t testing.TB, file string) (found record) {
	t.Helper()
	eventually(t, "a line about "+file, func() bool {
		for _, r := range slices.Backward(g.logged(t)) {
			if r.File == file {
				found = r
				return true
			}
		}
		return false
	})
	return found
}

func TestDownloadLog(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil)
	const size = 8 << 20
	g.put(t, "rootfs.img", size)
	g.write(t, "root/small", ten)
	g.do(t, "GET", workerAddr, rootfsPath, "User-Agent: iPXE/1.21")
	if r := g.line(t, rootfsPath); r.Node != g.worker.FQDN || r.IP != workerAddr || r.Bytes != size || r.Size != size || !r.Complete || r.Agent != "iPXE/1.21" || time.Since(r.Time) > time.Minute {
		t.Errorf("%+v", r)
	}
	g.do(t, "GET", poolAddr, kernelPath, "Range: bytes=100-199")
	if r := g.line(t, kernelPath); r.Node != "" || r.Status != 206 || r.From != 100 || r.Bytes != 100 || r.Size != 100_000 {
		t.Errorf("%+v", r)
	}
	g.do(t, "HEAD", poolAddr, "/small", `User-Agent: "a" <b>`)
	if r := g.line(t, "/small"); r.Method != "HEAD" || r.Bytes != 0 || r.Size != 10 || !r.Complete || r.Agent != `"a" <b>` {
		t.Errorf("%+v", r)
	}
	g.do(t, "GET", workerAddr, ignPath+"?token=sesame")
	if r := g.line(t, ignPath); r.Status != 503 || strings.Contains(fmt.Sprintf("%+v", r), "sesame") {
		t.Errorf("%+v", r)
	}
	g.raw(t, poolAddr, "GET /%1b[31m%0a\"\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if r := g.line(t, "/\x1b[31m\n\"\ufffd"); r.Status != 404 {
		t.Errorf("%+v", r)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What the client has not confirmed was not sent, whether the server had more to write or not.
	for name, size := range map[string]int{"mid-way": 32 << 20, "near the end": 3 << 20} {
		g.put(t, "vmlinuz", size)
		c := g.dial(t, masterAddr, "GET "+kernelPath+" HTTP/1.1\r\nHost: x\r\n\r\n")
		const read = 1 << 20
		if _, err := io.CopyN(io.Discard, c, read); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond) // the kernel has taken more by now
		c.SetLinger(0)
		c.Close()
		eventually(t, name+": the broken download is logged", func() bool {
			r := g.line(t, kernelPath)
			return r.Node == g.master.FQDN && r.Size == int64(size) && !r.Complete && r.Bytes >= read/2 && r.Bytes < read+512<<10
		})
	}
	for _, r := range g.logged(t) {
		if r.File == checkPath {
			t.Errorf("the daemon's own check is logged: %+v", r)
		}
	}
}

// A download that ends while the server drains is logged, too.
func TestLogOfDraining(t *testing.T) {
	g := newRig(t, nil)
	const size = 8 << 20
	g.put(t, "rootfs.img", size)
	c := g.dial(t, workerAddr, "GET "+rootfsPath+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if _, err := io.CopyN(io.Discard, c, 1<<20); err != nil {
		t.Fatal(err)
	}
	g.stop()
	if n, err := io.Copy(io.Discard, c); err != nil || n < size-1<<20 {
		t.Fatalf("%d bytes more, %v", n, err)
	}
	if r := g.line(t, rootfsPath); r.Bytes != size || !r.Complete {
		t.Errorf("%+v", r)
	}
}

// Who is no node cannot push out of the log what nodes did, and no small file of
// the user's own that he fetches is an event.
func TestStrangersInTheLog(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil)
	g.write(t, "root/small", ten)
	c, err := net.Dial("tcp", g.server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const n = 20_000
	go io.WriteString(c, strings.Repeat("GET /small HTTP/1.1\r\nHost: x\r\n\r\n", n))
	r := bufio.NewReader(c)
	for range n {
		resp, err := nethttp.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	lines, omitted := 0, int64(0)
	eventually(t, "each request is a line or counted", func() bool {
		lines, omitted = 0, 0
		for _, r := range g.logged(t) {
			if omitted += r.Omitted; r.File == "/small" {
				lines++
			}
		}
		return int64(lines)+omitted == n
	})
	if omitted == 0 || uint64(omitted) != g.downloads.unlogged() {
		t.Errorf("%d lines, %d omitted, %d counted", lines, omitted, g.downloads.unlogged())
	}
	if events := g.events.Since(0); len(events) > 0 {
		t.Errorf("%d events, such as %+v", len(events), events[0])
	}
	g.do(t, "GET", workerAddr, "/small")
	if e := g.seen(t, timeline.HTTPGet, "/small"); e.Node != g.worker.FQDN || e.Bytes != 10 {
		t.Errorf("event %+v", e)
	}
}

// A log that cannot be written is a problem that status shows; downloads go on.
func TestLogNotWritable(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil)
	at := filepath.Join(g.dir, downloadLog)
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	g.do(t, "GET", workerAddr, kernelPath)
	eventually(t, "status says so", func() bool {
		s := g.Status()
		return s.State == services.Degraded && strings.Contains(s.Problem, "the download log is not written") && strings.Contains(s.Problem, at)
	})
	if a := g.do(t, "GET", workerAddr, kernelPath); a.StatusCode != 200 {
		t.Error(a.Status)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is written again", func() bool {
		g.do(t, "GET", workerAddr, kernelPath)
		return g.Status().State == services.Up && len(g.logged(t)) > 0
	})
}

// Who downloads gets the file that he began with, whatever takes its name.
func TestReplacedFile(t *testing.T) {
	g := newRig(t, nil)
	want := string(g.put(t, "rootfs.img", 32<<20))
	c := g.dial(t, workerAddr, "GET "+rootfsPath+" HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := nethttp.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	g.write(t, "new", "another")
	if err := os.Rename(filepath.Join(g.dir, "new"), filepath.Join(g.dir, "rootfs.img")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != want {
		t.Errorf("%d bytes, %v; or they differ", len(got), err)
	}
	if a := g.do(t, "GET", workerAddr, rootfsPath); a.body != "another" {
		t.Errorf("afterwards %d bytes", len(a.body))
	}
}

// A cached file that changes in any way is seen by the next request.
func TestCacheSeesChanges(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil)
	g.write(t, "root/small", ten)
	cached := func(want string) {
		t.Helper()
		eventually(t, "the file is cached", func() bool {
			g.do(t, "GET", poolAddr, "/small")
			return g.state.Load().cache.find("/small") != nil
		})
		if a := g.do(t, "GET", poolAddr, "/small"); a.body != want || a.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%q, want %q: %v", a.body, want, a.Header)
		}
	}
	cached(ten)
	g.write(t, "root/small", "9876543210")
	if a := g.do(t, "GET", poolAddr, "/small"); a.body != "9876543210" {
		t.Errorf("written: %q", a.body)
	}
	cached("9876543210")
	path := filepath.Join(g.dir, "root", "small")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if a := g.do(t, "GET", poolAddr, "/small"); a.StatusCode != 404 {
		t.Errorf("removed: %s", a.Status)
	}
	g.write(t, "secret", "9876543210")
	if err := os.Symlink("../secret", path); err != nil {
		t.Fatal(err)
	}
	if a := g.do(t, "GET", poolAddr, "/small"); a.StatusCode != 404 {
		t.Errorf("a link out: %s", a.Status)
	}
	// Many files do not fill the memory.
	c := &g.state.Load().cache
	body := filepath.Join(g.dir, "body")
	g.put(t, "body", maxCached)
	f, err := os.Open(body)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	time.Sleep(settled)
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * cacheSize / maxCached {
		c.keep(fmt.Sprint("/", i), body, "text/plain", f, st)
	}
	sum := 0
	for _, e := range c.files {
		sum += len(e.body)
	}
	if sum != c.bytes || sum > cacheSize || sum == 0 {
		t.Errorf("%d bytes, counted as %d", sum, c.bytes)
	}
}

// What a node is to boot comes before a file of the user's own, also when another
// machine had that file cached.
func TestCacheGivesWay(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil)
	const path = "/boot/52-54-00-00-00-02.ipxe"
	g.write(t, "root"+path, "my own")
	g.write(t, "root/grub.cfg", "my menu")
	eventually(t, "the menu is cached", func() bool {
		return g.do(t, "GET", poolAddr, "/grub.cfg").body == "my menu" && g.state.Load().cache.find("/grub.cfg") != nil
	})
	if a := g.do(t, "GET", workerAddr, path); !strings.Contains(a.body, "worker.ign") {
		t.Errorf("%s is %s", path, a.body)
	}
	g.host.Nodes.Acked(g.worker.MACs[0], g.worker.IP)
	before := g.do(t, "GET", workerAddr, "/grub.cfg").body
	g.state.Load().cache.files = nil
	if after := g.do(t, "GET", workerAddr, "/grub.cfg").body; strings.Contains(before, "my menu") != strings.Contains(after, "my menu") {
		t.Errorf("cached %q, else %q", before, after)
	}
}

// HEAD says what GET would.
func TestHeadLikeGet(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil)
	g.write(t, "root/small", ten)
	g.write(t, "root/sub/f", "f")
	eventually(t, "the file is cached", func() bool {
		g.do(t, "GET", poolAddr, "/small")
		return g.state.Load().cache.find("/small") != nil
	})
	for _, path := range []string{"/small", "/sub/f", "/sub/", "/sub", "/nope", "/.hidden", kernelPath, rootfsPath, ignPath, "/boot/ipxe"} {
		get, head := g.do(t, "GET", poolAddr, path), g.do(t, "HEAD", poolAddr, path)
		if head.StatusCode != get.StatusCode || head.body != "" {
			t.Errorf("%s: %s and %s, body %q", path, get.Status, head.Status, head.body)
		}
		for name, want := range get.Header {
			if got := head.Header[name]; name != "Date" && name != "Content-Length" && !slices.Equal(got, want) {
				t.Errorf("%s: %s is %q for GET and %q for HEAD", path, name, want, got)
			}
		}
		// Of a redirect and of a script, which HEAD does not render, no length is known.
		if path != "/boot/ipxe" && path != "/sub" && head.ContentLength != get.ContentLength {
			t.Errorf("%s: length %d and %d", path, get.ContentLength, head.ContentLength)
		}
	}
}
