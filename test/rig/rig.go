package rig

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"helperd/internal/guard"
	"helperd/internal/netns"
	"helperd/plan"
)

// Facts of examples/ocp4.yaml.
const (
	HelperIP = "192.168.67.2"
	RouterIP = "192.168.67.1"
	Zone     = "ocp4.example.com"
	// outside is a network that is in no list of the file. The helper has a
	// route to it, so that it could answer.
	outside = "10.99.0.0/24"
)

// Bridge is the name of the helper's LAN in the router's namespace.
const Bridge = "lan0"

// Options of a rig. The zero value is examples/ocp4.yaml as it is.
type Options struct {
	// Example is the file below examples/. Empty: ocp4.yaml.
	Example string
	// Kernel, Initramfs, Rootfs and Metal are files that machines boot, for all artifacts. Empty: some MB of made-up content.
	Kernel, Initramfs, Rootfs, Metal string
	// KernelArgs gives what is added to a cluster's kernel arguments, when the files of the site are there.
	KernelArgs func(*Site, Cluster) []string
	// Buffers lets the daemon have the receive buffers that systemd/helperd-sysctl.conf
	// allows it on a real machine. That setting is the whole machine's and no test's to
	// change: where it is too low the daemon gets CAP_NET_ADMIN, which does the same.
	Buffers bool
	// Edit changes the text of the configuration before it is first written.
	Edit func(text string) string
	// Hide are boot loaders that the daemon does not see, as if their packages were not installed.
	Hide []plan.Loader
	// Systemd makes the rig play systemd for the daemon.
	Systemd bool
}

// A Rig is one helper on its LAN, and the LANs behind the router.
type Rig struct {
	Site
	Helper *netns.NS // where helperd runs
	Router *netns.NS // holds the bridges, the relay, and the upstream name server
	// Systemd is nil unless asked for.
	Systemd *Systemd

	guard        *guard.Group
	daemon       *daemon
	hide         []string // files that the daemon sees empty
	capabilities string   // of the daemon, as setpriv takes them
	taps         int
}

// New makes the LAN and the files. The daemon is not started yet. All ends
// with the test. Without privileges the test ends by netns.SkipOrFail.
func New(t testing.TB, opt Options) *Rig {
	t.Helper()
	netns.Require(t)
	netns.Tools(t, "setpriv")
	r := &Rig{guard: guard.New(func(name string, v any, stack []byte) { t.Errorf("%s: panic: %v\n%s", name, v, stack) })}
	t.Cleanup(r.guard.Wait)
	r.hide = hidden(t, opt.Hide)
	r.capabilities = capabilities
	if opt.Buffers && receiveLimit(t) < largestBuffer {
		r.capabilities += ",+net_admin"
	}
	r.Site = newSite(t, opt)
	if opt.Systemd {
		r.Systemd = newSystemd(t, r.Dir)
	}
	r.Router, r.Helper = netns.New(t), netns.New(t)
	home := r.network(r.Address)
	for i := range r.Networks {
		n := &r.Networks[i]
		if n != home {
			r.Router.Bridge(t, n.bridge, n.address(n.Gateway))
			continue
		}
		port, dev := netns.Link(t, r.Router, r.Helper, "", n.address(r.Address))
		r.Router.Bridge(t, n.bridge, n.address(n.Gateway), port)
		for _, c := range r.Clusters {
			if c.Address != r.Address {
				r.Helper.Up(t, dev, n.address(c.Address))
			}
		}
		if r.Address6 != "" {
			r.Helper.Up(t, dev, r.LAN6.address(r.Address6))
			r.Router.Up(t, n.bridge, r.LAN6.address(r.LAN6.Gateway))
		}
		r.Helper.IP(t, "route", "add", "default", "via", n.Gateway)
		r.Helper.IP(t, "route", "add", outside, "dev", dev)
	}
	r.upstream(t, home.Gateway)
	if len(r.Networks) > 1 {
		r.relay(t, home)
	}
	return r
}

// Tap gives a new tap device in the router's namespace, on the LAN that ip belongs to; empty: the helper's.
func (r *Rig) Tap(t testing.TB, ip string) string {
	t.Helper()
	name := "tap" + strconv.Itoa(r.taps)
	r.taps++
	r.Router.Tap(t, name, r.network(ip).bridge)
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
