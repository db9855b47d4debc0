package e2e_test

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"helperd/services"
	"helperd/test/rig"
	"helperd/timeline"
)

// guestArgs are the kernel arguments that tell the guests of a cluster what to expect.
func guestArgs(t *testing.T, cluster rig.Cluster, images map[string]string, controlPlane []string) []string {
	t.Helper()
	args := []string{"e2e.controlplane=" + strings.Join(controlPlane, ","), "e2e.balancer=" + cluster.Address}
	for name, file := range images {
		args = append(args, "e2e.sha256."+name+"="+rig.SHA256(t, file))
	}
	slices.Sort(args)
	for _, role := range []string{"bootstrap", "master", "worker"} {
		args = append(args, "e2e.sha256."+role+".ign="+rig.SHA256(t, cluster.IgnitionFile(role)))
	}
	return args
}

// checkMachine compares the machine that booted with the one that was meant.
func checkMachine(t *testing.T, facts map[string]string, fw firmware) {
	t.Helper()
	want := map[string]string{"arch": fw.arch(), "firmware": "bios", "secureboot": "off"}
	if fw.uefi() {
		want["firmware"] = "uefi"
	}
	if fw == uefiSecure {
		want["secureboot"] = "on"
	}
	for name := range want {
		if facts[name] != want[name] {
			t.Errorf("the machine has %s=%q, want %q", name, facts[name], want[name])
		}
	}
}

// checkLease compares what the running machine was given with the file.
func checkLease(t *testing.T, r *rig.Rig, lease map[string]string, node rig.Node) {
	t.Helper()
	bits := netip.MustParsePrefix(node.Network.CIDR).Bits()
	all := map[string]string{
		"ip": node.IP, "mask": strconv.Itoa(bits), "hostname": node.FQDN(), "dns": r.Address,
		"router": node.Network.Gateway, "domain": node.Zone, "serverid": r.Address,
		"ntpsrv": cmp.Or(strings.Join(node.Network.NTP, " "), r.Address),
	}
	if node.IP == "" {
		all = map[string]string{"ip": node.IP6, "hostname": node.FQDN(), "dns": r.Address6}
	}
	for name, want := range all {
		if lease[name] != want {
			t.Errorf("DHCP gave %s=%q, want %q", name, lease[name], want)
		}
	}
	if !slices.Contains(strings.Fields(lease["search"]), node.Zone) {
		t.Errorf("DHCP gave search=%q, want %s in it", lease["search"], node.Zone)
	}
}

// checkBeside wants the lease of the running machine to be the other server's,
// and that the helper gave no address and says who does.
func checkBeside(t *testing.T, r *rig.Rig, lease map[string]string, node rig.Node) {
	t.Helper()
	for name, want := range map[string]string{"ip": node.IP, "serverid": rig.RouterIP, "hostname": node.FQDN()} {
		if lease[name] != want {
			t.Errorf("the running machine has %s=%q, want %q", name, lease[name], want)
		}
	}
	for _, s := range r.Status(t).Services {
		if s.Name == "dhcp" && (s.State != services.Up || !strings.Contains(strings.Join(s.Notes, "\n"), "DHCP server "+rig.RouterIP+" (MAC ")) {
			t.Errorf("status of dhcp: %s %s, notes %q", s.State, s.Problem, s.Notes)
		}
	}
}

// checkEvents looks for the steps of the boot in the daemon's timeline: the
// loader that DHCP names and TFTP or the web server gives, the script, the
// files, the ignition file, and the first questions to DNS and balancer.
func checkEvents(t *testing.T, r *rig.Rig, c bootCase, node rig.Node) {
	t.Helper()
	complete := func(kind timeline.Kind, suffix string) func(*timeline.Event) bool {
		return func(e *timeline.Event) bool {
			return e.Kind == kind && strings.HasSuffix(e.File, suffix) && e.Total > 0 && e.Bytes == e.Total
		}
	}
	addr := netip.MustParseAddr(cmp.Or(node.IP, node.IP6))
	kind := timeline.DHCPAck
	if c.proxy && c.firmware != uefiPXE && c.firmware != armUEFI { // these ask once more, from the address that the other server gave
		kind, addr = timeline.DHCPOffer, netip.Addr{}
	}
	awaitNode(t, r, node, string(kind)+" with "+c.loader, func(e *timeline.Event) bool {
		return e.Kind == kind && e.Addr == addr && strings.HasSuffix(e.Detail, c.loader)
	})
	switch {
	case c.firmware == uefiHTTP:
		awaitNode(t, r, node, "http.get "+c.loader, complete(timeline.HTTPGet, c.loader))
	case c.loader != "":
		awaitNode(t, r, node, "tftp.get "+c.loader, complete(timeline.TFTPGet, c.loader))
	}
	awaitNode(t, r, node, "boot.script install", func(e *timeline.Event) bool {
		return e.Kind == timeline.BootScript && e.Detail == timeline.ScriptInstall
	})
	kind = timeline.HTTPGet
	if c.tftp {
		kind = timeline.TFTPGet
	}
	for _, file := range []string{"/kernel", "/initramfs"} {
		awaitNode(t, r, node, string(kind)+" "+file, complete(kind, file))
	}
	awaitNode(t, r, node, "http.get of the image", complete(timeline.HTTPGet, "/"+c.image()))
	for _, kind := range []timeline.Kind{timeline.IgnitionServed, timeline.DNSFirst, timeline.LBFirst} {
		awaitNode(t, r, node, string(kind), func(e *timeline.Event) bool { return e.Kind == kind })
	}
}

func awaitNode(t *testing.T, r *rig.Rig, node rig.Node, what string, match func(*timeline.Event) bool) {
	t.Helper()
	r.AwaitEvent(t, what+" of "+node.Name, 5*time.Second, func(e *timeline.Event) bool {
		return e.Node == node.FQDN() && match(e)
	})
}
