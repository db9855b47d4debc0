package e2e_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/boot"
	"helperd/internal/liveiso"
	"helperd/plan"
	"helperd/test/rig"
	"helperd/timeline"
)

// bootCase is one row of the matrix of firmware and network boot code.
type bootCase struct {
	name     string
	short    bool   // also in the short form
	node     string // of the example
	firmware firmware
	loader   string        // that DHCP names and TFTP or HTTP Boot gives, by the end of its path; empty: the card's iPXE needs none
	hide     []plan.Loader // that this machine seems not to have
	vendor   string        // where the artifact brings shim and GRUB: a folder, or an ISO; empty: it does not
	tftp     bool          // kernel and initramfs come by TFTP, else by HTTP
	metal    bool          // the installer of 4.5
	proxy    bool          // another server gives the addresses
	disk     bool          // power on again and see that it boots from the disk
	removed  bool          // take the node out of the file, power on, and see that it boots nothing
}

// image is the artifact's part that the installer writes to the disk.
func (c *bootCase) image() string {
	if c.metal {
		return "metal"
	}
	return "rootfs"
}

var matrix = []bootCase{
	{name: "bios-ipxe-rom", short: true, node: "worker-0", firmware: biosIPXE, disk: true, removed: true},
	{name: "bios-undionly", node: "worker-1", firmware: biosPXE, loader: "undionly.kpxe"},
	{name: "bios-lpxelinux", node: "master-1", firmware: biosPXE, loader: "lpxelinux.0", hide: []plan.Loader{plan.Undionly}, disk: true},
	{name: "bios-pxelinux", node: "worker-0", firmware: biosPXE, loader: "pxelinux.0", hide: []plan.Loader{plan.Undionly, plan.LPXELinux}, tftp: true},
	{name: "uefi-pxe-ipxe", node: "worker-1", firmware: uefiPXE, loader: "snponly.efi", disk: true},
	{name: "uefi-pxe-grub", node: "master-2", firmware: uefiPXE, loader: "grubx64.efi", hide: []plan.Loader{plan.SNPOnly64, plan.IPXE64}, tftp: true, disk: true},
	{name: "uefi-http", node: "bootstrap", firmware: uefiHTTP, loader: "snponly.efi"},
	{name: "uefi-pxe-ipv6", node: "worker-1", firmware: uefiPXE6, loader: "snponly.efi"},
	{name: "uefi-pxe-ipv6-grub", node: "worker-1", firmware: uefiPXE6, loader: "grubx64.efi", hide: []plan.Loader{plan.SNPOnly64, plan.IPXE64}, tftp: true},
	{name: "uefi-sb-shim", short: true, node: "worker-1", firmware: uefiSecure, loader: "/loader/shimx64.efi", vendor: "/srv/loader/live.iso", tftp: true, disk: true},
	{name: "proxy-bios-ipxe-rom", node: "worker-0", firmware: biosIPXE, proxy: true, disk: true},
	{name: "proxy-bios-undionly", node: "worker-1", firmware: biosPXE, loader: "undionly.kpxe", proxy: true},
	{name: "proxy-bios-lpxelinux", node: "master-1", firmware: biosPXE, loader: "lpxelinux.0", hide: []plan.Loader{plan.Undionly}, proxy: true},
	{name: "proxy-uefi-pxe-ipxe", short: true, node: "worker-1", firmware: uefiPXE, loader: "snponly.efi", proxy: true},
	{name: "proxy-uefi-pxe-grub", node: "master-2", firmware: uefiPXE, loader: "grubx64.efi", hide: []plan.Loader{plan.SNPOnly64, plan.IPXE64}, tftp: true, proxy: true},
	{name: "proxy-uefi-http", node: "bootstrap", firmware: uefiHTTP, loader: "snponly.efi", proxy: true},
	{name: "proxy-arm64-uefi-shim", node: "worker-0", firmware: armUEFI, loader: "/loader/shimaa64.efi", vendor: "/srv/loader", tftp: true, proxy: true},
	{name: "arm64-uefi-shim", node: "worker-0", firmware: armUEFI, loader: "/loader/shimaa64.efi", vendor: "/srv/loader", tftp: true},
}

// whole reports whether all of the matrix is asked for, or a row by its name (-run TestMatrix/uefi-http).
func whole() bool {
	return os.Getenv("HELPERD_MATRIX") == "1" || strings.Contains(flag.Lookup("test.run").Value.String(), "/")
}

func TestMatrix(t *testing.T) {
	for _, c := range matrix {
		if c.short || whole() {
			t.Run(c.name, func(t *testing.T) { testBoot(t, c) })
		}
	}
	if whole() {
		t.Run("two-clusters", testTwoClusters)
	}
}

// testBoot walks one machine of examples/ocp4.yaml through its installation and beyond.
func testBoot(t *testing.T, c bootCase) {
	g := guestFiles(t, c.firmware.arch())
	var members []string
	for _, name := range []string{"bootstrap", "master-0", "master-1", "master-2"} {
		if name != c.node {
			members = append(members, name)
		}
	}
	r := rig.New(t, rig.Options{
		Kernel: g.kernel, Initramfs: g.initramfs, Rootfs: g.rootfs, Hide: c.hide,
		Edit: func(text string) string {
			arch := "    arch: " + g.arch + "\n"
			if c.vendor != "" {
				arch += "    loader: " + c.vendor + "\n"
			}
			text = strings.Replace(text, "    arch: x86_64\n", arch, 1)
			if c.firmware == uefiPXE6 {
				text = rig.OnlyIPv6(text, c.node)
			}
			if c.proxy {
				text = rig.BesideServer(text)
			}
			return text
		},
		KernelArgs: func(s *rig.Site, cluster rig.Cluster) []string {
			if c.firmware == uefiPXE6 {
				cluster.Address = s.Address6
			}
			return append(guestArgs(t, cluster, map[string]string{"rootfs": g.rootfs}, members), "console="+c.firmware.console())
		},
	})
	if c.vendor != "" {
		vendorLoaders(t, g, filepath.Join(r.Dir, c.vendor))
	}
	if c.firmware == uefiPXE6 {
		r.Advertise(t)
	}
	if c.proxy {
		next := ""
		if strings.HasPrefix(filepath.Base(c.loader), "grub") || c.vendor != "" {
			next = r.Address // upstream GRUB looks for its files at the DHCP server that gave the address, whoever named it itself
		}
		r.SiteDHCP(t, next)
	}
	r.Start(t)
	// The cluster comes to life after the helper: a helper that starts anew
	// beside a cluster that lives must not install.
	for _, name := range members {
		r.Machine(t, name).Serve(t)
	}
	node := r.Node(t, c.node)
	m := newVM(t, r, node.MAC, node.IP, c.firmware, virtioDisk)
	installs(t, m, c, node)
	if c.disk {
		m.powerOn(t, bootMark, patience).bootedDisk(t)
		awaitNode(t, r, node, "boot.script disk", func(e *timeline.Event) bool {
			return e.Kind == timeline.BootScript && e.Detail == timeline.ScriptDisk
		})
	}
	if c.removed {
		testRemoved(t, m, node)
	}
}

// installs boots the node and checks all that a first boot has to do.
func installs(t *testing.T, m *vm, c bootCase, node rig.Node) {
	t.Helper()
	console := m.powerOn(t, "E2E result", patience)
	console.check(t)
	checkMachine(t, console.facts("machine"), c.firmware)
	if c.proxy {
		checkBeside(t, m.rig, console.facts("lease"), node)
	} else {
		checkLease(t, m.rig, console.facts("lease"), node)
	}
	checkEvents(t, m.rig, c, node)
}

// vendorLoaders puts shim and GRUB into a folder, under the names that an
// artifact's have, or into an ISO, where the live ISO of CoreOS has them.
func vendorLoaders(t *testing.T, g guest, to string) {
	t.Helper()
	names := []plan.Loader{plan.Shim64, plan.GRUB64}
	found := boot.FindLoaders()
	if g.arch != "x86_64" {
		names = []plan.Loader{plan.ShimAA64, plan.GRUBAA64}
		found = map[plan.Loader]string{}
		for _, l := range names {
			found[l] = filepath.Join(g.from, string(l))
		}
	}
	onISO := map[string][]byte{}
	must(t, os.MkdirAll(strings.TrimSuffix(to, "live.iso"), 0o755))
	for _, l := range names {
		from := first(t, string(l), found[l])
		if !strings.HasSuffix(to, ".iso") {
			install(t, filepath.Join(to, string(l)), from, 0o644)
			continue
		}
		b, err := os.ReadFile(from)
		must(t, err)
		onISO["EFI/redhat/"+string(l)] = b
	}
	if len(onISO) > 0 {
		install(t, to, liveiso.Build(t, liveiso.Options{EFI: onISO}), 0o644)
	}
}

// testRemoved takes an installed node out of the file. Its machine gets no
// answer from then on, and the firmware goes on to its disk.
func testRemoved(t *testing.T, m *vm, node rig.Node) {
	t.Helper()
	r := m.rig
	r.Apply(t, func(text string) string {
		var kept []string
		for line := range strings.Lines(text) {
			if !strings.Contains(line, node.MAC) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	})
	before := lastEvent(t, r)
	m.powerOn(t, bootMark, patience).bootedDisk(t)
	checkRefused(t, r, node.MAC, before)
}

func lastEvent(t *testing.T, r *rig.Rig) uint64 {
	t.Helper()
	events := r.Events(t)
	if len(events) == 0 {
		return 0
	}
	return events[len(events)-1].Seq
}

// checkRefused looks for the refusal of a machine's network boot after an
// event, and that nothing was given to it.
func checkRefused(t *testing.T, r *rig.Rig, mac string, after uint64) {
	t.Helper()
	refused := r.AwaitEvent(t, "dhcp.refused of "+mac, 5*time.Second, func(e *timeline.Event) bool {
		return e.Seq > after && e.Kind == timeline.DHCPRefused && e.MAC.String() == mac
	})
	if refused.Detail == "" {
		t.Error("dhcp.refused does not say why and what to do")
	}
	for _, e := range r.Events(t) {
		if e.Seq <= after || e.MAC.String() != mac {
			continue
		}
		switch e.Kind {
		case timeline.DHCPOffer, timeline.DHCPAck, timeline.TFTPGet, timeline.HTTPGet, timeline.BootScript, timeline.IgnitionServed:
			t.Errorf("the machine was served: %s %v %s %s", e.Kind, e.Addr, e.File, e.Detail)
		}
	}
}
