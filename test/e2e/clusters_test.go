package e2e_test

import (
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helperd/test/rig"
	"helperd/timeline"
)

// testTwoClusters boots a node of each cluster of examples/two-clusters.yaml:
// one beside the helper, whose files the helper downloads first, and one of the
// 4.5 installer behind a relay. Each asks both clusters at the address that they share.
func testTwoClusters(t *testing.T) {
	g := guestFiles(t, "x86_64")
	metal := filepath.Join(t.TempDir(), "metal.raw.gz")
	pack(t, metal, g.rootfs)
	mirror := map[string]string{
		"rhcos-live-kernel-x86_64":        g.kernel,
		"rhcos-live-initramfs.x86_64.img": g.initramfs,
		"rhcos-live-rootfs.x86_64.img":    g.rootfs,
	}
	members := map[string][]string{"edge": {"bootstrap", "m1", "m2"}, "sno": {"n-bootstrap"}}
	neighbour := map[string]string{"edge": "sno", "sno": "edge"}
	r := rig.New(t, rig.Options{
		Example: "two-clusters.yaml", Edit: adapted(t, mirror),
		Kernel: g.kernel, Initramfs: g.initramfs, Rootfs: g.rootfs, Metal: metal,
		KernelArgs: func(_ *rig.Site, cluster rig.Cluster) []string {
			images := map[string]string{"rootfs": g.rootfs, "metal": metal}
			other := rig.Cluster{Name: neighbour[cluster.Name], Domain: cluster.Domain}
			return append(guestArgs(t, cluster, images, members[cluster.Name]),
				"e2e.neighbour="+other.Zone()+":"+strings.Join(members[other.Name], ","), "console=ttyS0,115200")
		},
	})
	web := r.Web(t)
	if web.URL != mirrorURL {
		t.Fatalf("the rig's web server is %s, and the file says %s", web.URL, mirrorURL)
	}
	for name, file := range mirror {
		b, err := os.ReadFile(file)
		must(t, err)
		web.Put("/"+name, b)
	}
	r.Start(t)
	for _, names := range members {
		for _, name := range names {
			r.Machine(t, name).Serve(t)
		}
	}
	for _, tt := range []struct {
		bootCase
		disk string
	}{
		{bootCase{name: "edge", node: "m0", firmware: biosIPXE}, virtioDisk},
		{bootCase{name: "sno", node: "n0", firmware: uefiPXE, loader: "snponly.efi", metal: true}, nvmeDisk},
	} {
		t.Run(tt.name, func(t *testing.T) {
			node := r.Node(t, tt.node)
			m := newVM(t, r, node.MAC, node.IP, tt.firmware, tt.disk)
			installs(t, m, tt.bootCase, node)
			m.powerOn(t, bootMark, patience).bootedDisk(t)
			awaitNode(t, r, node, "boot.script disk", func(e *timeline.Event) bool {
				return e.Kind == timeline.BootScript && e.Detail == timeline.ScriptDisk
			})
		})
	}
}

// mirrorURL is where the rig's web server is in the example.
const mirrorURL = "http://10.20.0.1:8000"

// mirrored is an artifact's part that the example downloads.
var mirrored = regexp.MustCompile(`\{url: "http://mirror\.example\.com/([^"]*)", +sha256: "[0-9]*"\}`)

// adapted names a mirror that is there, with the checksums of its files, and
// gives the single-node cluster a bootstrap, whose API the node asks while it is
// installed. The clusters share the helper's address, as the example has it.
func adapted(t *testing.T, mirror map[string]string) func(text string) string {
	return func(text string) string {
		text = mirrored.ReplaceAllStringFunc(text, func(part string) string {
			name := mirrored.FindStringSubmatch(part)[1]
			return fmt.Sprintf(`{url: "%s/%s", sha256: "%s"}`, mirrorURL, name, rig.SHA256(t, mirror[name]))
		})
		const n0 = "      - {name: n0,"
		return strings.Replace(text, n0, `      - {name: n-bootstrap, role: bootstrap, mac: "52:54:00:22:00:10", ip: 10.30.8.10}`+"\n"+n0, 1)
	}
}

func pack(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	f, err := os.Create(to)
	must(t, err)
	w, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	must(t, err)
	_, err = w.Write(b)
	must(t, err)
	must(t, w.Close())
	must(t, f.Close())
}
