package rig

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"helperd/internal/guard"
	"helperd/internal/netns"
)

// Facts of the example configuration.
const (
	HelperIP = "192.168.67.2"
	RouterIP = "192.168.67.1"
	Zone     = "ocp4.example.com"
	bits     = "/24"
	// outside is a network that is in no list of the file. The helper has a
	// route to it, so that it could answer.
	outside = "10.99.0.0/24"
)

// Bridge is the LAN's name in the router's namespace.
const Bridge = "lan0"

// Options of a rig. The zero value is the example as it is.
type Options struct {
	// Kernel, Initramfs and Rootfs are files that machines boot. Empty: some MB of made-up content.
	Kernel, Initramfs, Rootfs string
	// KernelArgs gives what is added to the cluster's kernel arguments, when the files of the site are there.
	KernelArgs func(*Site) []string
	// Edit changes the text of the configuration before it is first written.
	Edit func(text string) string
}

// A Rig is one helper on one LAN.
type Rig struct {
	Site
	Helper *netns.NS // where helperd runs
	Router *netns.NS // holds the bridge, and the upstream name server

	guard  *guard.Group
	daemon *daemon
	taps   int
}

// New makes the LAN and the files. The daemon is not started yet. All ends
// with the test. Without privileges the test ends by netns.SkipOrFail.
func New(t testing.TB, opt Options) *Rig {
	t.Helper()
	netns.Require(t)
	netns.Tools(t, "setpriv")
	r := &Rig{guard: guard.New(func(name string, v any, stack []byte) { t.Errorf("%s: panic: %v\n%s", name, v, stack) })}
	t.Cleanup(r.guard.Wait)
	r.Site = newSite(t, opt)
	r.Router, r.Helper = netns.New(t), netns.New(t)
	port, dev := netns.Link(t, r.Router, r.Helper, "", HelperIP+bits)
	r.Router.Bridge(t, Bridge, RouterIP+bits, port)
	r.Helper.IP(t, "route", "add", "default", "via", RouterIP)
	r.Helper.IP(t, "route", "add", outside, "dev", dev)
	r.upstream(t)
	return r
}

// Tap gives a new tap device on the LAN, in the router's namespace.
func (r *Rig) Tap(t testing.TB) string {
	t.Helper()
	name := "tap" + strconv.Itoa(r.taps)
	r.taps++
	r.Router.Tap(t, name, Bridge)
	return name
}

// tempDir is t.TempDir for files that an unprivileged process reads: that one
// cannot be entered by others.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "helperd-rig-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the rig's folder: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// root is the folder of the repository.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test's folder")
	return ""
}
