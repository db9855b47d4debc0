package e2e_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"helperd/test/rig"
	"helperd/timeline"
)

// bootCase is one row of the matrix of firmware and network boot code.
type bootCase struct {
	name     string
	node     string // of the example; not one whose place a stand-in takes
	firmware firmware
	loader   string // that DHCP names and TFTP gives; empty: the card's iPXE needs none
	disk     bool   // power on again and see that it boots from the disk
}

func TestBootBIOS(t *testing.T) {
	boots(t, bootCase{name: "ipxe-rom", node: "worker-0", firmware: biosIPXE, disk: true})
}

func TestBootUEFI(t *testing.T) {
	boots(t, bootCase{name: "pxe", node: "worker-1", firmware: uefiPXE, loader: "snponly.efi"})
}

// TestBootStranger boots a machine that is in no list. The example has a pool,
// which is for machines that run: network boot is for nodes alone.
func TestBootStranger(t *testing.T) {
	const mac = "52:54:00:bb:bb:01"
	g := guestFiles(t)
	r := rig.New(t, rig.Options{Kernel: g.kernel, Initramfs: g.initramfs, Rootfs: g.rootfs})
	r.Start(t)
	console := newVM(t, r, mac, biosIPXE).powerOn(t, "No bootable device", 60*time.Second)
	if console.reachedInstaller() {
		t.Errorf("a machine that is in no list reached the installer; the end of its console:\n%s", console.tail(40))
	}
	if !strings.Contains(string(console), "iPXE") {
		t.Fatalf("the machine never tried to boot from the network; its console:\n%s", console.tail(40))
	}
	refused := r.AwaitEvent(t, "dhcp.refused of "+mac, 5*time.Second, func(e *timeline.Event) bool {
		return e.Kind == timeline.DHCPRefused && e.MAC.String() == mac
	})
	if refused.Detail == "" {
		t.Error("dhcp.refused does not say why and what to do")
	}
	for _, e := range r.Events(t) {
		if e.MAC.String() == mac && (e.Kind == timeline.DHCPOffer || e.Kind == timeline.DHCPAck) {
			t.Errorf("the machine was given %v: %s", e.Addr, e.Kind)
		}
	}
}

// boots walks one machine through its installation.
func boots(t *testing.T, c bootCase) {
	t.Run(c.name, func(t *testing.T) {
		g := guestFiles(t)
		r := rig.New(t, rig.Options{
			Kernel: g.kernel, Initramfs: g.initramfs, Rootfs: g.rootfs,
			KernelArgs: func(s *rig.Site) []string { return guestArgs(t, s, g, c) },
		})
		r.Start(t)
		// The cluster comes to life after the helper: a helper that starts anew
		// beside a cluster that lives must not install.
		for _, name := range []string{"bootstrap", "master-0", "master-1", "master-2"} {
			r.Machine(t, name).Serve(t)
		}
		node := r.Node(t, c.node)
		m := newVM(t, r, node.MAC, c.firmware)
		console := m.powerOn(t, "E2E result", patience)
		console.check(t)
		checkLease(t, console.facts("lease"), node)
		checkEvents(t, r, c)

		if c.disk {
			console = m.powerOn(t, bootMark, patience)
			if !strings.Contains(string(console), bootMark) || console.reachedInstaller() {
				t.Errorf("powered on again after its installation, %s did not boot from its disk; the end of its console:\n%s", c.node, console.tail(40))
			}
		} else {
			script := r.Machine(t, c.node).Run(t, "curl", "-sSf", "--max-time", "10", r.BootScript(node))
			if strings.Contains(script, "coreos.inst") {
				t.Errorf("after its installation the boot script of %s installs again:\n%s", c.node, script)
			}
		}
		awaitNode(t, r, c.node, "boot.script disk", func(e *timeline.Event) bool {
			return e.Kind == timeline.BootScript && e.Detail == timeline.ScriptDisk
		})
	})
}

// guestArgs are the kernel arguments that tell the guest what to expect.
func guestArgs(t *testing.T, s *rig.Site, g guest, c bootCase) []string {
	args := []string{"console=ttyS0,115200", "e2e.sha256.rootfs=" + rig.SHA256(t, g.rootfs)}
	role := s.Node(t, c.node).Role
	args = append(args, "e2e.sha256."+role+".ign="+rig.SHA256(t, s.Ignition(role)))
	return args
}

// checkLease compares what the running machine was given with the file.
func checkLease(t *testing.T, lease map[string]string, node rig.Node) {
	t.Helper()
	for name, want := range map[string]string{
		"ip": node.IP, "mask": "24", "hostname": node.Name + "." + rig.Zone, "dns": rig.HelperIP,
		"router": rig.RouterIP, "domain": rig.Zone, "serverid": rig.HelperIP,
	} {
		if lease[name] != want {
			t.Errorf("DHCP gave %s=%q, want %q", name, lease[name], want)
		}
	}
	if !slices.Contains(strings.Fields(lease["search"]), rig.Zone) {
		t.Errorf("DHCP gave search=%q, want %s in it", lease["search"], rig.Zone)
	}
}

// checkEvents looks for the steps of the boot in the daemon's timeline.
func checkEvents(t *testing.T, r *rig.Rig, c bootCase) {
	t.Helper()
	complete := func(kind timeline.Kind, suffix string) func(*timeline.Event) bool {
		return func(e *timeline.Event) bool {
			return e.Kind == kind && strings.HasSuffix(e.File, suffix) && e.Total > 0 && e.Bytes == e.Total
		}
	}
	awaitNode(t, r, c.node, "dhcp.ack", func(e *timeline.Event) bool {
		return e.Kind == timeline.DHCPAck && e.Addr == netip.MustParseAddr(r.Node(t, c.node).IP)
	})
	if c.loader != "" {
		awaitNode(t, r, c.node, "tftp.get "+c.loader, complete(timeline.TFTPGet, c.loader))
	}
	awaitNode(t, r, c.node, "boot.script install", func(e *timeline.Event) bool {
		return e.Kind == timeline.BootScript && e.Detail == timeline.ScriptInstall
	})
	for _, file := range []string{"/kernel", "/initramfs", "/rootfs"} {
		awaitNode(t, r, c.node, "http.get "+file, complete(timeline.HTTPGet, file))
	}
	awaitNode(t, r, c.node, "ignition.served", func(e *timeline.Event) bool { return e.Kind == timeline.IgnitionServed })
}

func awaitNode(t *testing.T, r *rig.Rig, node, what string, match func(*timeline.Event) bool) {
	t.Helper()
	r.AwaitEvent(t, what+" of "+node, 5*time.Second, func(e *timeline.Event) bool {
		return e.Node == node+"."+rig.Zone && match(e)
	})
}
