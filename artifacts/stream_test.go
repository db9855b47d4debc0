package artifacts

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/plan"
)

// streamJSON is the stream of the versions by architecture below base, in the shape of openshift-install's.
func streamJSON(base string, arches map[string]version) []byte {
	type object = map[string]any
	file := func(dir, name string, b []byte) object {
		return object{"location": base + dir + "/" + name, "signature": base + dir + "/" + name + ".sig", "sha256": sumOf(b)}
	}
	all := object{}
	for arch, v := range arches {
		dir := "/" + arch
		all[arch] = object{
			"artifacts": object{
				"metal": object{"release": "418.94.1", "formats": object{
					"pxe":    object{"kernel": file(dir, "kernel", v.kernel), "initramfs": file(dir, "initramfs", v.initramfs), "rootfs": file(dir, "rootfs", v.rootfs)},
					"iso":    object{"disk": file(dir, "iso", noise(77, 5000))},
					"raw.gz": object{"disk": file(dir, "raw.gz", noise(78, 5000))},
				}},
				"aws": object{"release": "418.94.1", "formats": object{"vmdk.gz": object{"disk": object{"location": "https://example.com/a", "sha256": "x"}}}},
			},
			"images": object{"aws": object{"regions": object{}}},
		}
	}
	b, err := json.Marshal(object{"stream": "rhcos-4.18", "metadata": object{"last-modified": "2026-01-02T03:04:05Z"}, "architectures": all})
	if err != nil {
		panic(err)
	}
	return b
}

const twoArches = `clusters:
  - name: ocp4
    domain: example.com
    artifacts: rhcos
    install_disk: /dev/sda
    ignition: /srv/ignition
    nodes:
      - {name: m0, role: master, mac: "52:54:00:00:00:02", ip: 192.168.7.11}
      - {name: w0, role: worker, mac: "52:54:00:00:00:03", ip: 192.168.7.21, arch: aarch64}
`

func streamYAML(source string) string {
	return head + "artifacts:\n  - name: rhcos\n    stream: {" + source + "}\n" + twoArches
}

// streamWeb has a stream of three architectures, and the files of all.
func streamWeb(t *testing.T) (*web, map[string]version) {
	w := newWeb(t)
	arches := map[string]version{"x86_64": newVersion(1), "aarch64": newVersion(11), "s390x": newVersion(21)}
	for arch, v := range arches {
		w.put("/"+arch, v)
		w.set(func() { w.files["/"+arch+"/iso"] = noise(77, 5000) })
	}
	w.set(func() { w.files["/stream.json"] = streamJSON(w.URL, arches) })
	return w, arches
}

// bootsAll waits until the nodes of the plan boot all of arches.
func bootsAll(t *testing.T, g *rig, arches map[string]version) {
	t.Helper()
	eventually(t, "both architectures boot", func() bool {
		n := 0
		for _, node := range g.served().Nodes {
			for _, a := range g.served().Artifacts {
				if a.Boots.Arch != node.Arch || node.Boot == nil || node.Boot.Image != a.Boots.File(plan.PartRootfs).Path {
					continue
				}
				got, err := g.has(a.Boots, plan.PartRootfs)
				if err == nil && sumOf(got) == sumOf(arches[node.Arch].rootfs) {
					n++
				}
			}
		}
		return n == 2
	})
}

func TestStreamByURL(t *testing.T) {
	w, arches := streamWeb(t)
	g := newRig(t, dirOf(t), nil)
	yaml := streamYAML(fmt.Sprintf("url: %q", w.URL+"/stream.json"))
	g.apply(yaml)
	bootsAll(t, g, arches)
	for _, asked := range w.requests() {
		if strings.Contains(asked, "s390x") || strings.Contains(asked, "iso") || strings.Contains(asked, "raw.gz") {
			t.Errorf("%s was fetched, which no node needs", asked)
		}
	}
	if u := g.served().Unserved; len(u) != 0 {
		t.Errorf("unserved: %v", u)
	}

	// The ISO comes when somebody asks.
	x86 := g.served().Artifacts[1].Boots
	iso := x86.File(plan.PartISO)
	if x86.Arch != "x86_64" || !strings.HasPrefix(iso.Path, "/artifacts/rhcos/x86_64/") || x86.Release != "418.94.1" {
		t.Fatalf("set %+v", x86)
	}
	g.Want(iso)
	eventually(t, "the ISO is here", func() bool { _, err := g.Path(iso); return err == nil })

	// A new stream: its files come, and then boot.
	next := map[string]version{"x86_64": newVersion(31), "aarch64": arches["aarch64"], "s390x": arches["s390x"]}
	w.put("/x86_64", next["x86_64"])
	w.set(func() { w.files["/stream.json"] = streamJSON(w.URL, next) })
	bootsAll(t, g, next)

	// Without the network the last good copy serves.
	g.stop()
	w.Close()
	again := newRig(t, g.opt.Dir, nil)
	again.apply(yaml)
	bootsAll(t, again, next)
	if r := again.await("stream", Waiting); !strings.Contains(r.Detail, "what it said before holds") {
		t.Errorf("detail %q", r.Detail)
	}
}

func TestStreamByFile(t *testing.T) {
	w, arches := streamWeb(t)
	file := filepath.Join(t.TempDir(), "stream.json")
	g := newRig(t, dirOf(t), nil)
	g.apply(streamYAML("file: " + file))
	if u := g.served().Unserved; len(u) != 1 || !strings.Contains(u[0].Reason, "rhcos: its stream is not read yet") || !strings.Contains(u[0].Reason, "print-stream-json") {
		t.Errorf("unserved: %v", u)
	}
	for _, n := range g.served().Nodes {
		if n.Boot != nil {
			t.Errorf("%s boots %v", n.Name, n.Boot)
		}
	}
	if err := os.WriteFile(file, w.files["/stream.json"], 0o644); err != nil {
		t.Fatal(err)
	}
	bootsAll(t, g, arches)
	if err := os.WriteFile(file, []byte("half a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := g.await("stream", Failed); !strings.Contains(r.Detail, "no stream JSON") {
		t.Errorf("detail %q", r.Detail)
	}
	bootsAll(t, g, arches)
}

func TestStreamFailures(t *testing.T) {
	good := string(streamJSON("http://example.com", map[string]version{"x86_64": newVersion(1), "aarch64": newVersion(2)}))
	tests := []struct{ name, body, source, want string }{
		{"not JSON", "<html>", "", "it is no stream JSON"},
		{"another JSON", `{"a": 1}`, "", `has no "architectures"`},
		{"location", strings.Replace(good, `"location":"http:`, `"location":"gopher:`, 6), "", "cannot be fetched"},
		{"sha256", strings.ReplaceAll(good, `"sha256":"`, `"sha256":"zz`), "", "is not 64 hex digits"},
		{"another checksum", good, ", sha256: " + strings.Repeat("1", 64), "its sha256 is"},
		{"too long", good + strings.Repeat(" ", largestStream), "", "more than 8 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWeb(t)
			w.set(func() { w.files["/stream.json"] = []byte(tt.body) })
			g := newRig(t, dirOf(t), nil)
			g.apply(streamYAML(fmt.Sprintf("url: %q%s", strings.Replace(w.URL, "//", "//u:geheim@", 1)+"/stream.json", tt.source)))
			eventually(t, "the reason is told", func() bool {
				u := g.served().Unserved
				return len(u) == 1 && strings.Contains(u[0].Reason, tt.want) && !strings.Contains(u[0].Reason, "geheim")
			})
		})
	}
}

func TestStreamThatTrickles(t *testing.T) {
	w, _ := streamWeb(t)
	w.set(func() {
		w.before = func(rw http.ResponseWriter, r *http.Request) bool {
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
			return true
		}
	})
	g := newRig(t, dirOf(t), func(s *Store) { s.times.stream = 100 * time.Millisecond })
	g.apply(streamYAML(fmt.Sprintf("url: %q", w.URL+"/stream.json")))
	eventually(t, "the reason is told", func() bool {
		r := g.Rows()[0]
		return r.State == Waiting && strings.Contains(r.Detail, "did not come whole in 100ms")
	})
}

// A stream that is not pinned must not come by plain HTTP when it is declared by HTTPS.
func TestStreamIsNotDowngraded(t *testing.T) {
	w, _ := streamWeb(t)
	secure := newTLS(t, func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, w.URL+"/stream.json", http.StatusFound)
	})
	g := newRig(t, dirOf(t), nil)
	g.client.HTTP.Transport.(*http.Transport).TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig
	g.apply(streamYAML(fmt.Sprintf("url: %q", secure.URL+"/stream.json")))
	if r := g.await("stream", Failed); !strings.Contains(r.Detail, "redirects from https to http") {
		t.Errorf("detail %q", r.Detail)
	}
}
