package clients_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"helperd/api"
	"helperd/artifacts"
	"helperd/internal/netns"
	"helperd/test/rig"
)

// release is one version of the live installer.
type release struct{ kernel, initramfs, rootfs []byte }

// fetched turns the artifacts of the example into files of the web.
func fetched(text, base string, v release) string {
	for _, f := range []struct {
		part string
		body []byte
	}{{"kernel", v.kernel}, {"initramfs", v.initramfs}, {"rootfs", v.rootfs}} {
		line := regexp.MustCompile(`(?m)^    ` + f.part + `: *\{.*\}$`)
		text = line.ReplaceAllString(text, fmt.Sprintf("    %s: {url: %q, sha256: %x}", f.part, base+"/"+f.part, sha256.Sum256(f.body)))
	}
	return text
}

func put(w *rig.Web, dir string, v release) {
	w.Put(dir+"/kernel", v.kernel)
	w.Put(dir+"/initramfs", v.initramfs)
	w.Put(dir+"/rootfs", v.rootfs)
}

// installer reads what a node is told to boot.
func installer(t *testing.T, r *rig.Rig, m *rig.Machine) (kernel, rootfs string) {
	t.Helper()
	status, script := curl(t, m, r.BootScript(m.Node))
	found := regexp.MustCompile(`(\S+/kernel)\s[^\n]*coreos\.live\.rootfs_url=(\S+)`).FindStringSubmatch(script)
	if status != "200" || found == nil {
		t.Fatalf("boot script: status %s, no kernel and rootfs:\n%s", status, script)
	}
	return found[1], found[2]
}

// gets fetches a URL, waiting as installers do while it is not there yet.
func gets(t *testing.T, m *rig.Machine, url string, want []byte) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		status, body := curl(t, m, url)
		if status == "200" {
			if body != string(want) {
				t.Errorf("%s: %d bytes of something else, want %d", url, len(body), len(want))
			}
			return
		}
		if status != "503" || time.Now().After(end) {
			t.Fatalf("%s: status %s: %.300s", url, status, body)
		}
	}
}

// TestArtifactsFromTheNetwork is what a helper does that has its artifacts by
// url: fetch them from a server that breaks off, boot a node with them, change to
// the next version in the middle of an installation, and lose the network.
func TestArtifactsFromTheNetwork(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl", "busybox")
	r := rig.New(t, rig.Options{})
	web := r.Web(t)
	read := func(name string) []byte {
		b, err := os.ReadFile(r.Artifact(name))
		must(t, err)
		return b
	}
	one := release{read("rhcos-live-kernel-x86_64"), read("rhcos-live-initramfs.x86_64.img"), read("rhcos-live-rootfs.x86_64.img")}
	after := func(word string) release {
		next := func(b []byte) []byte { return append([]byte(word), b...) }
		return release{next(one.kernel), next(one.initramfs), next(one.rootfs)}
	}
	two, three := after("two"), after("three")
	put(web, "/one", one)
	put(web, "/two", two)
	r.Rewrite(t, func(text string) string { return fetched(text, web.URL+"/one", one) })
	r.Start(t)

	m := r.Blank(t, "worker-0")
	want(t, udhcpc(t, m), map[string]string{"ip": "192.168.67.21"})
	kernel, rootfs := installer(t, r, m)
	gets(t, m, absolute(kernel), one.kernel)

	// The file names the next version; until its rootfs is here the old one boots.
	let := web.Hold("/two/rootfs")
	t.Cleanup(let)
	r.Apply(t, func(text string) string { return fetched(text, web.URL+"/two", two) })
	if again, _ := installer(t, r, r.Machine(t, "worker-1")); again != kernel {
		t.Errorf("%s boots before its rootfs is here", again)
	}
	if s := r.Status(t); s.Healthy() || !strings.Contains(fmt.Sprint(s.Services), "downloaded") {
		t.Errorf("status does not tell of the download: %+v", s.Services)
	}
	let()
	other := r.Machine(t, "master-0")
	var next, nextRootfs string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if next, nextRootfs = installer(t, r, other); next != kernel {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the second version never boots: %+v", r.Artifacts(t))
		}
	}
	gets(t, other, absolute(next), two.kernel)
	gets(t, other, nextRootfs, two.rootfs)
	gets(t, m, rootfs, one.rootfs) // who began with the first version finishes with it
	rows, err := api.NewClient(r.Socket).Nodes(t.Context())
	must(t, err)
	for _, n := range rows {
		if n.Name == "worker-0" && !n.Boot.RootfsDone {
			t.Errorf("the rootfs of the first version does not count as fetched: %+v", n.Boot)
		}
	}

	// A version that no server has comes on a stick.
	r.Apply(t, func(text string) string { return fetched(text, web.URL+"/nowhere", three) })
	stick := t.TempDir()
	for name, b := range map[string][]byte{"a.bin": three.kernel, "deep/b.bin": three.initramfs, "deep/c.bin": three.rootfs, "readme": []byte("hello")} {
		must(t, os.MkdirAll(filepath.Join(stick, filepath.Dir(name)), 0o700))
		must(t, os.WriteFile(filepath.Join(stick, name), b, 0o600))
	}
	out, err := r.Import(stick)
	if err != nil || strings.Count(out, " imported") != 3 || strings.Count(out, " not wanted") != 1 {
		t.Errorf("import: %v\n%s", err, out)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if third, thirdRootfs := installer(t, r, other); third != next {
			gets(t, other, thirdRootfs, three.rootfs)
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the third version never boots: %+v", r.Artifacts(t))
		}
	}
	for _, row := range r.Artifacts(t) {
		if row.State != artifacts.Present {
			t.Errorf("%+v", row)
		}
	}
	kinds := map[string]int{}
	for _, e := range r.Events(t) {
		kinds[string(e.Kind)]++
	}
	if kinds["artifact.ready"] != 9 || kinds["artifact.failed"] == 0 {
		t.Errorf("events %v", kinds)
	}
	before := r.Status(t).PID
	r.Stop(t)
	r.Start(t)
	if r.Status(t).PID == before {
		t.Error("it was not started again")
	}
	if third, _ := installer(t, r, other); third == next || third == kernel {
		t.Errorf("after a restart %s boots", third)
	}
}

// absolute is a URL of the helper's, also from a path in a boot script.
func absolute(path string) string {
	if strings.HasPrefix(path, "/") {
		return rig.URL(path)
	}
	return path
}
