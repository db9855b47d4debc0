package http

import (
	"net/netip"
	"strings"
	"testing"

	"helperd/timeline"
)

// The names that loaders ask for over HTTP: lpxelinux and petitboot below the
// prefix that DHCP gave them, GRUB below the folder of its shim.
func TestBootFileNames(t *testing.T) {
	g := newRig(t, nil)
	const uuid = "/boot/pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d"
	for _, path := range []string{
		"/boot/52-54-00-00-00-02.ipxe", "/boot/pxelinux.cfg/01-52-54-00-00-00-02", "/pxelinux.cfg/01-52-54-00-00-00-02",
		"/boot/pxelinux.cfg/7F000015", "/artifacts/rhcos/loader/grub.cfg-01-52-54-00-00-00-02", "/boot/52-54-00-00-00-02.IPXE",
	} {
		if a := g.do(t, "GET", workerAddr, path); a.StatusCode != 200 || !strings.Contains(a.body, "worker.ign") {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	// Over HTTP a loader finds URLs: below its prefix a path would lead nowhere.
	if a := g.do(t, "GET", workerAddr, "/boot/pxelinux.cfg/7F000015"); !strings.Contains(a.body, "KERNEL http://"+g.server.String()+kernelPath) {
		t.Errorf("PXELINUX gets %s", a.body)
	}
	if a := g.do(t, "GET", workerAddr, uuid); a.StatusCode != 404 {
		t.Errorf("a UUID without proof: %d %s", a.StatusCode, a.body)
	}
	g.host.Nodes.Acked(g.worker.MACs[0], netip.MustParseAddr(workerAddr))
	for _, path := range []string{uuid, "/boot/pxelinux.cfg/default", "/grub.cfg"} {
		if a := g.do(t, "GET", workerAddr, path); a.StatusCode != 200 || !strings.Contains(a.body, "worker.ign?token=") {
			t.Errorf("%s, with proof: %d %s", path, a.StatusCode, a.body)
		}
	}
}

// A machine in no node gets its error at once, and the people are told; what
// loaders do without is no news.
func TestBootRefused(t *testing.T) {
	g := newRig(t, nil)
	refused := func() (n int) {
		for _, e := range g.events.Since(0) {
			if e.Kind == timeline.BootRefused || e.Kind == timeline.HTTPMiss {
				n++
			}
		}
		return n
	}
	const path = "/boot/52-54-00-00-00-99.ipxe"
	for _, quiet := range []struct {
		method, addr, path string
		status             int
	}{
		{"HEAD", poolAddr, path, 404},
		{"GET", farAddr, path, 403}, // as for a MAC that there is
		{"GET", farAddr, "/boot/52-54-00-00-00-02.ipxe", 403},
		{"GET", workerAddr, "/boot/autoexec.ipxe", 404},
		{"GET", workerAddr, "/boot/pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d", 404},
	} {
		if a := g.do(t, quiet.method, quiet.addr, quiet.path); a.StatusCode != quiet.status || refused() != 0 {
			t.Errorf("%+v: %d, %d events", quiet, a.StatusCode, refused())
		}
	}
	if a := g.do(t, "GET", poolAddr, path); a.StatusCode != 404 || !strings.Contains(a.body, "no node has MAC 52:54:00:00:00:99") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if e := g.seen(t, timeline.BootRefused, path); e.MAC.String() != "52:54:00:00:00:99" || e.Addr.String() != poolAddr {
		t.Errorf("event %+v", e)
	}
	if a := g.do(t, "GET", poolAddr, "/boot/pxelinux.cfg/default"); a.StatusCode != 200 || !strings.Contains(a.body, "LOCALBOOT -1") {
		t.Errorf("default: %d %s", a.StatusCode, a.body)
	}
	g.seen(t, timeline.BootRefused, "/boot/pxelinux.cfg/default")
	g.write(t, "root/boot/52-54-00-00-00-99.ipxe", "my own")
	if a := g.do(t, "GET", poolAddr, path); a.StatusCode != 200 || a.body != "my own" {
		t.Errorf("got %d %q, want the user's own", a.StatusCode, a.body)
	}
}
