package bootstorm

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"helperd/ghost"
	"helperd/plan"
	"helperd/test/rig"
)

// mix is a kind of storm: what firmware the machines have, and what they load by.
type mix struct {
	name     string
	firmware []ghost.Firmware // in turns
	// vendor: the artifact brings shim and GRUB, which loads kernel and initramfs by TFTP.
	vendor bool
}

var mixes = []mix{
	{name: "bios", firmware: []ghost.Firmware{ghost.BIOSPXE}},
	{name: "uefi-pxe", firmware: []ghost.Firmware{ghost.UEFIPXE}},
	{name: "uefi-http", firmware: []ghost.Firmware{ghost.UEFIHTTP}},
	{name: "mix", firmware: []ghost.Firmware{ghost.BIOSPXE, ghost.UEFIPXE, ghost.UEFIHTTP, ghost.BIOSiPXE}},
	{name: "all-tftp", firmware: []ghost.Firmware{ghost.UEFIPXE}, vendor: true},
}

func mixNamed(t *testing.T, name string) mix {
	t.Helper()
	for _, m := range mixes {
		if m.name == name {
			return m
		}
	}
	t.Fatalf("no mix %q", name)
	return mix{}
}

// machine is one of the storm.
type machine struct {
	name string
	role ghost.Role
	mac  net.HardwareAddr
	ip   netip.Addr
}

// machines gives n of them, with the roles of one cluster.
func machines(n int) []machine {
	ip := netip.MustParseAddr("192.168.67.10")
	list := make([]machine, n)
	for i := range list {
		role := ghost.Worker
		switch {
		case i == 0:
			role = ghost.Bootstrap
		case i < 4:
			role = ghost.Master
		}
		list[i] = machine{fmt.Sprintf("%s-%d", role, i), role, net.HardwareAddr{0x52, 0x54, 0, 0x57, byte(i >> 8), byte(i)}, ip}
		ip = ip.Next()
	}
	return list
}

// files are what the machines of every storm load, below the rig's folder.
const (
	kernelFile    = "rhcos-live-kernel-x86_64"
	initramfsFile = "rhcos-live-initramfs.x86_64.img"
	rootfsFile    = "rhcos-live-rootfs.x86_64.img"
	loaderFolder  = "srv/loader"
)

// configuration is the file for a storm, with all folders below dir.
func configuration(m mix, list []machine, dir string) string {
	var b strings.Builder
	b.WriteString("version: 1\nhelper: {name: helper, address: " + rig.HelperIP + "}\n" +
		"networks:\n  - {cidr: 192.168.67.0/24, gateway: " + rig.RouterIP + "}\n" +
		"artifacts:\n  - name: rhcos\n    arch: x86_64\n")
	if m.vendor {
		fmt.Fprintf(&b, "    loader: %s/%s\n", dir, loaderFolder)
	}
	for name, file := range map[string]string{"kernel": kernelFile, "initramfs": initramfsFile, "rootfs": rootfsFile} {
		fmt.Fprintf(&b, "    %s: {file: %s/srv/rhcos/%s}\n", name, dir, file)
	}
	fmt.Fprintf(&b, "clusters:\n  - name: ocp4\n    domain: example.com\n    artifacts: rhcos\n    install_disk: /dev/vda\n    ignition: %s/srv/ignition/ocp4\n    nodes:\n", dir)
	for _, n := range list {
		fmt.Fprintf(&b, "      - {name: %s, role: %s, mac: %q, ip: %s}\n", n.name, n.role, n.mac, n.ip)
	}
	b.WriteString("dns: {forwarders: [" + rig.RouterIP + "]}\n")
	return b.String()
}

// vendorLoaders of made-up content and usual sizes in bytes.
var vendorLoaders = map[plan.Loader]int{plan.Shim64: 960 << 10, plan.GRUB64: 2500 << 10}
