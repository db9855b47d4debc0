package e2e_test

import (
	"strings"
	"testing"
	"time"

	"helperd/test/rig"
)

// TestStranger boots a machine that is in no list. The example has a pool,
// which is for machines that run: network boot is for nodes alone.
func TestStranger(t *testing.T) {
	const mac = "52:54:00:bb:bb:01"
	g := guestFiles(t, "x86_64")
	r := rig.New(t, rig.Options{Kernel: g.kernel, Initramfs: g.initramfs, Rootfs: g.rootfs})
	r.Start(t)
	console := newVM(t, r, mac, "", biosIPXE, virtioDisk).powerOn(t, "No bootable device", 2*time.Minute)
	if console.reachedInstaller() {
		t.Errorf("a machine that is in no list reached the installer; the end of its console:\n%s", console.tail(40))
	}
	if !strings.Contains(string(console), "iPXE") {
		t.Fatalf("the machine never tried to boot from the network; its console:\n%s", console.tail(40))
	}
	checkRefused(t, r, mac, 0)
}
