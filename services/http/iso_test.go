package http

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"helperd/artifacts"
	"helperd/internal/liveiso"
	"helperd/plan"
	"helperd/timeline"
)

// isoRig has an ISO for the worker, and none for the master.
func isoRig(t *testing.T) *rig {
	base := liveiso.Build(t, liveiso.Options{Features: `{"installer-config":true}`})
	return newRig(t, func(g *rig) {
		args := []string{"coreos.inst.install_dev=/dev/vda", "ip=dhcp", "rd.neednet=1"}
		g.plan.HTTP.ISOs = []plan.ISO{
			{Path: "/iso/" + g.worker.FQDN + ".iso", Node: g.worker, Base: &plan.File{Path: "/artifacts/rhcos/iso", File: base}, Args: args, Ignition: &g.plan.HTTP.Ignition[1]},
			{Path: "/iso/" + g.master.FQDN + ".iso", Node: g.master, Ignition: &g.plan.HTTP.Ignition[0], Problem: "artifact rhcos has no ISO; write iso:"},
		}
	})
}

func (g *rig) isoURL(n *plan.Node, token string) string {
	return "/iso/" + n.Name + ".iso?token=" + token
}

func (g *rig) get(t *testing.T, from, target, header, value string) answer {
	t.Helper()
	extra := ""
	if header != "" {
		extra = header + ": " + value + "\r\n"
	}
	return g.raw(t, from, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+extra+"\r\n")
}

func TestISO(t *testing.T) {
	g := isoRig(t)
	token := g.host.Nodes.ISOToken(g.worker)
	whole := g.do(t, "GET", poolAddr, g.isoURL(g.worker, token))
	h := whole.Header
	if whole.StatusCode != 200 || h.Get("Cache-Control") != "private, no-store" || h.Get("Accept-Ranges") != "bytes" || h.Get("Last-Modified") != "" {
		t.Fatalf("%s %v", whole.Status, h)
	}
	for _, target := range []string{
		"/iso/" + g.worker.FQDN + ".iso?token=" + token,
		"/iso/" + token + "/" + g.worker.Name + ".iso",
		"/iso/" + token + "/" + g.worker.FQDN + ".iso",
	} {
		if a := g.do(t, "GET", poolAddr, target); a.StatusCode != 200 || a.body != whole.body {
			t.Errorf("%s: %s, %d bytes", strings.ReplaceAll(target, token, "TOKEN"), a.Status, len(a.body))
		}
	}
	if a := g.do(t, "HEAD", poolAddr, g.isoURL(g.worker, token)); a.StatusCode != 200 || a.ContentLength != int64(len(whole.body)) || a.Header.Get("Etag") != h.Get("Etag") {
		t.Errorf("HEAD: %s %v", a.Status, a.Header)
	}
	path := t.TempDir() + "/node.iso"
	if err := os.WriteFile(path, []byte(whole.body), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg := string(liveiso.Extract(t, path, "/isolinux/isolinux.cfg")); !strings.Contains(cfg, liveiso.Args+" coreos.inst.install_dev=/dev/vda ip=dhcp rd.neednet=1\n#") {
		t.Errorf("the boot loader says\n%s", cfg)
	}
	if area := liveiso.Extract(t, path, "/images/ignition.img"); !bytes.HasPrefix(area, []byte("\x1f\x8b")) {
		t.Error("no ignition file in it")
	}
	e := g.seen(t, timeline.ISOGet, "/iso/"+g.worker.FQDN+".iso")
	if e.Node != g.worker.FQDN || e.Bytes != e.Total || e.Total != int64(len(whole.body)) || e.Addr.String() != poolAddr {
		t.Errorf("event %+v", e)
	}
	if s := g.events.Story(g.worker.FQDN); s.Stage != timeline.Rootfs || s.Hint != "" {
		t.Errorf("story %+v", s)
	}
	g.nowhere(t, token)
}

// nowhere fails if an event has the secret in it.
func (g *rig) nowhere(t *testing.T, secret string) {
	t.Helper()
	for _, e := range g.events.Since(0) {
		if strings.Contains(fmt.Sprintf("%+v", e), secret) {
			t.Errorf("an event shows the token: %+v", e)
		}
	}
}

func TestWithoutToken(t *testing.T) {
	const token = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for path, want := range map[string][2]string{
		"/iso/" + token + "/w0.iso":        {"/iso/w0.iso", token},
		"//iso//" + token + "//w0.iso":     {"/iso/w0.iso", token},
		"/iso/" + token + "/x/../w0.iso":   {"/iso/x/../w0.iso", token},
		"/iso/" + token + "/":              {"/iso/", token},
		"/iso/w0.iso":                      {"/iso/w0.iso", ""},
		"/iso/tools/w0.iso":                {"/iso/tools/w0.iso", ""},
		"/iso/" + token:                    {"/iso/", token},
		"/mine/iso/" + token + "/w0.iso":   {"/mine/iso/" + token + "/w0.iso", ""},
		"/iso/" + token + token + "/a.iso": {"/iso/" + token + token + "/a.iso", ""},
	} {
		if rest, got := withoutToken(path); rest != want[0] || got != want[1] {
			t.Errorf("%s is %s with token %q", path, rest, got)
		}
	}
}

// A management controller reads for hours, in pieces: they make the whole.
func TestISORanges(t *testing.T) {
	g := isoRig(t)
	url := g.isoURL(g.worker, g.host.Nodes.ISOToken(g.worker))
	whole := g.do(t, "GET", poolAddr, url)
	size := int64(len(whole.body))
	rnd := rand.New(rand.NewPCG(3, 4))
	part := func(from, to int64) {
		t.Helper()
		a := g.get(t, poolAddr, url, "Range", fmt.Sprintf("bytes=%d-%d", from, to))
		if want := whole.body[from : to+1]; a.StatusCode != 206 || a.body != want || a.Header.Get("Etag") != whole.Header.Get("Etag") {
			t.Errorf("bytes %d-%d: %s, %d bytes", from, to, a.Status, len(a.body))
		}
	}
	base := g.plan.HTTP.ISOs[0].Base.File
	for _, name := range []string{"/images/ignition.img", "/EFI/redhat/grub.cfg", "/isolinux/isolinux.cfg"} {
		at := liveiso.Offset(t, base, name)
		part(at-1, at)
		part(at-100, min(at+liveiso.Room+100, size-1))
	}
	for range 60 {
		from := rnd.Int64N(size)
		part(from, from+rnd.Int64N(min(size-from, 600_000)))
	}
	if a := g.get(t, poolAddr, url, "Range", "bytes=0-0,100-199"); a.StatusCode != 206 || !strings.Contains(a.body, whole.body[100:200]) {
		t.Errorf("two ranges: %s", a.Status)
	}
	if a := g.get(t, poolAddr, url, "Range", fmt.Sprintf("bytes=%d-", size)); a.StatusCode != 416 {
		t.Errorf("behind the end: %s", a.Status)
	}
	// Once the content has changed, pieces of both must not be joined.
	tag := whole.Header.Get("Etag")
	resume := "GET " + url + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=100-199\r\nIf-Range: " + tag + "\r\n\r\n"
	if a := g.raw(t, poolAddr, resume); a.StatusCode != 206 {
		t.Errorf("If-Range with the same tag: %s", a.Status)
	}
	g.write(t, "worker.ign", `{"ignition":{"version":"3.2.0"},"passwd":{}}`)
	if a := g.raw(t, poolAddr, resume); a.StatusCode != 200 || a.Header.Get("Etag") == tag || int64(len(a.body)) != size {
		t.Errorf("If-Range after a change: %s, %d bytes", a.Status, len(a.body))
	}
}

// An ISO has the secrets of its cluster on it.
func TestISOGate(t *testing.T) {
	g := isoRig(t)
	url := func(token string) string { return g.isoURL(g.worker, token) }
	for _, from := range []string{workerAddr, masterAddr, poolAddr, farAddr, "127.0.0.2"} {
		for _, token := range []string{"", "wrong"} {
			if a := g.do(t, "GET", from, url(token)); a.StatusCode != 403 || !strings.Contains(a.body, "helperd iso w0") {
				t.Errorf("%s with token %q before one was made: %s %s", from, token, a.Status, a.body)
			}
		}
	}
	token := g.host.Nodes.ISOToken(g.worker)
	for name, tt := range map[string]struct {
		from, target string
		status       int
	}{
		"without a token":            {workerAddr, "/iso/w0.iso", 403},
		"another token":              {workerAddr, url("wrong"), 403},
		"token of another node":      {masterAddr, g.isoURL(g.master, token), 403},
		"token of another node, too": {masterAddr, "/iso/" + token + "/m0.iso", 403},
		"from anywhere with it":      {farAddr, url(token), 200},
		"a node that is none":        {farAddr, "/iso/w9.iso?token=" + token, 404},
		"another suffix":             {farAddr, "/iso/w0.img?token=" + token, 404},
		"the folder":                 {farAddr, "/iso/", 404},
		"below it":                   {farAddr, "/iso/" + token + "/x/w0.iso", 404},
	} {
		if a := g.do(t, "GET", tt.from, tt.target); a.StatusCode != tt.status || a.StatusCode != 200 && strings.Contains(a.body, "1f8b") {
			t.Errorf("%s: %s, want %d", name, a.Status, tt.status)
		}
	}
	if a := g.do(t, "GET", workerAddr, "/iso/"+token+"/w9.iso"); a.StatusCode != 404 || !strings.Contains(a.body, "no node") {
		t.Errorf("a node that is none: %s %s", a.Status, a.body)
	}
	g.seen(t, timeline.HTTPMiss, "/iso/w9.iso")                      // without the token
	for _, method := range []string{"OPTIONS", "POST", "PROPFIND"} { // as management controllers do
		if a := g.do(t, method, workerAddr, "/iso/"+token+"/w0.iso"); a.StatusCode != 405 {
			t.Errorf("%s: %s", method, a.Status)
		}
	}
	for _, r := range []record{g.line(t, "/iso/w0.iso"), g.line(t, "/iso/w9.iso"), g.line(t, "/iso/"+g.worker.FQDN+".iso")} {
		if text := fmt.Sprintf("%+v", r); strings.Contains(text, token) {
			t.Errorf("the download log shows the token: %s", text)
		}
	}
	if b, err := os.ReadFile(g.dir + "/" + downloadLog); err != nil || bytes.Contains(b, []byte(token)) {
		t.Errorf("the download log shows the token, or is not there: %v", err)
	}
	g.write(t, "root/iso/tools/mine.iso", "my own")
	if a := g.do(t, "GET", workerAddr, "/iso/tools/mine.iso"); a.body != "my own" {
		t.Errorf("an ISO of the user's own: %s", a.Status)
	}
	e := g.seen(t, timeline.IgnitionRefused, "/iso/"+g.worker.FQDN+".iso")
	if !strings.Contains(e.Detail, "helperd iso w0 --url") || strings.Contains(e.Detail, "wrong") {
		t.Errorf("refusal says %q", e.Detail)
	}
	g.nowhere(t, token)
	g.nowhere(t, "wrong")

	p := *g.plan
	open := p.HTTP.Ignition[1]
	open.Open = true
	p.HTTP.ISOs = []plan.ISO{p.HTTP.ISOs[0]}
	p.HTTP.ISOs[0].Ignition = &open
	g.apply(t, &p)
	for from, status := range map[string]int{workerAddr: 200, poolAddr: 200, farAddr: 403} {
		if a := g.do(t, "GET", from, "/iso/w0.iso"); a.StatusCode != status {
			t.Errorf("open gate, %s: %s, want %d", from, a.Status, status)
		}
	}
}

func TestISONotThere(t *testing.T) {
	g := isoRig(t)
	url := g.isoURL(g.worker, g.host.Nodes.ISOToken(g.worker))
	if a := g.do(t, "GET", poolAddr, g.isoURL(g.master, g.host.Nodes.ISOToken(g.master))); a.StatusCode != 404 || !strings.Contains(a.body, "write iso:") {
		t.Errorf("no ISO in the file: %s %s", a.Status, a.body)
	}
	g.write(t, "worker.ign", "{")
	if a := g.do(t, "GET", poolAddr, url); a.StatusCode != 503 || !strings.Contains(a.body, "no ignition file") {
		t.Errorf("broken ignition file: %s %s", a.Status, a.body)
	}
	g.write(t, "worker.ign", `{"ignition":{"version":"3.2.0"}}`)
	if err := os.Remove(g.plan.HTTP.ISOs[0].Base.File); err != nil {
		t.Fatal(err)
	}
	a := g.do(t, "GET", poolAddr, url)
	if a.StatusCode != 503 || !strings.Contains(a.body, "not on the helper yet") || strings.Contains(a.body, "/tmp/") || a.Header.Get("Retry-After") == "" {
		t.Errorf("no base: %s %s", a.Status, a.body)
	}
}

// Loaders inside an ISO are served as files of the artifact.
func TestVendorLoaders(t *testing.T) {
	shim := bytes.Repeat([]byte("shim"), 200_000)
	iso := liveiso.Build(t, liveiso.Options{EFI: map[string][]byte{"EFI/BOOT/BOOTX64.EFI": shim}})
	file := func(l plan.Loader) plan.File {
		return plan.File{Path: "/artifacts/rhcos/loader/" + string(l), File: iso, Inside: l}
	}
	g := newRig(t, func(g *rig) { g.plan.HTTP.Files = append(g.plan.HTTP.Files, file(plan.Shim64), file(plan.GRUB64)) })
	path := file(plan.Shim64).Path
	a := g.do(t, "GET", poolAddr, path)
	if a.StatusCode != 200 || a.body != string(shim) || a.Header.Get("Etag") == "" {
		t.Errorf("%s %v, %d bytes", a.Status, a.Header, len(a.body))
	}
	if a := g.get(t, poolAddr, path, "If-None-Match", a.Header.Get("Etag")); a.StatusCode != 304 {
		t.Errorf("asked again: %s", a.Status)
	}
	if a := g.get(t, poolAddr, path, "Range", "bytes=4-7"); a.StatusCode != 206 || a.body != "shim" {
		t.Errorf("range: %s %q", a.Status, a.body)
	}
	if a := g.do(t, "GET", poolAddr, file(plan.GRUB64).Path); a.StatusCode != 503 || !strings.Contains(a.body, "no grubx64.efi on the ISO") {
		t.Errorf("one that is not there: %s %s", a.Status, a.body)
	}
	if p := g.Status().Problem; !strings.Contains(p, "no grubx64.efi on the ISO") || strings.Contains(p, "no shimx64.efi") {
		t.Errorf("status says %q", p)
	}
	g.seen(t, timeline.HTTPGet, path)
}

// BenchmarkISO is a whole ISO over a kept connection; the client's work is in it.
func BenchmarkISO(b *testing.B) {
	base := liveiso.Build(b, liveiso.Options{Files: map[string][]byte{"images/big.img": make([]byte, 64<<20)}})
	g := newRig(b, func(g *rig) {
		g.plan.HTTP.ISOs = []plan.ISO{{Path: "/iso/" + g.worker.FQDN + ".iso", Node: g.worker, Base: &plan.File{File: base}, Args: []string{"a=b"}, Ignition: &g.plan.HTTP.Ignition[1]}}
	})
	url := "http://" + g.server.String() + g.isoURL(g.worker, g.host.Nodes.ISOToken(g.worker))
	b.ReportAllocs()
	for b.Loop() {
		resp, err := nethttp.Get(url)
		if err != nil || resp.StatusCode != 200 {
			b.Fatal(resp, err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil || n != resp.ContentLength {
			b.Fatal(n, err)
		}
		b.SetBytes(n)
	}
}

// A stream's ISO is large and most sites never use it: the first who asks makes the helper fetch it.
func TestISOOfAStreamIsFetched(t *testing.T) {
	content, err := os.ReadFile(liveiso.Build(t, liveiso.Options{Features: `{"installer-config":true}`}))
	if err != nil {
		t.Fatal(err)
	}
	mirror := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, _ *nethttp.Request) { _, _ = w.Write(content) }))
	t.Cleanup(mirror.Close)
	sum := sha256.Sum256(content)
	base := plan.File{
		Path: "/artifacts/rhcos/x86_64/0123abcd/iso", URL: mirror.URL + "/live.iso", SHA256: hex.EncodeToString(sum[:]), Part: plan.PartISO, OnDemand: true,
	}
	g := newRig(t, func(g *rig) {
		set := &plan.Set{Artifact: "rhcos", Arch: "x86_64", Version: "0123abcd", Files: []plan.File{base}}
		g.plan.Artifacts = []plan.Artifact{{Wanted: set, Boots: set}}
		g.plan.HTTP.ISOs = []plan.ISO{{Path: "/iso/" + g.worker.FQDN + ".iso", Node: g.worker, Base: &base, Ignition: &g.plan.HTTP.Ignition[1]}}
		g.Service.host.Artifacts = artifacts.Open(artifacts.Options{
			Dir: t.TempDir(), Log: g.host.Log, Events: g.events, Guard: g.host.Guard, Metrics: prometheus.NewRegistry(), Busy: func(time.Time) bool { return false },
		})
		g.Service.host.Artifacts.Apply(g.plan)
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Service.host.Artifacts.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-done })

	target := g.isoURL(g.worker, g.host.Nodes.ISOToken(g.worker))
	if a := g.do(t, "GET", poolAddr, target); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Fatalf("before it is here: %s %s", a.Status, a.body)
	}
	eventually(t, "the ISO", func() bool { return g.do(t, "HEAD", poolAddr, target).StatusCode == 200 })
}
