// Package e2e boots virtual machines by real firmware through the daemon:
// power-on, DHCP, boot loader, kernel, rootfs, ignition, DNS and balancer, as a
// node of OpenShift does, and a second time to see that an installed node
// boots its disk.
//
// TestMatrix has a row for every firmware and network boot code: BIOS by iPXE
// in ROM, undionly and PXELINUX, UEFI by PXE with iPXE and with GRUB, by HTTP
// Boot, over IPv6 alone, with Secure Boot, and arm64. Its last row, two-clusters, boots
// examples/two-clusters.yaml, one node of it behind a relay. TestStranger boots
// a machine of no list. `make test` runs a short form, `make e2e-boot` all
// (HELPERD_MATRIX=1); `go test -run TestMatrix/uefi-http` runs one row.
//
// What boots is a Debian kernel with a small initramfs from guest/, in place of
// the RHCOS installers, whose kernel arguments it reads. The machines are
// emulated (no KVM), one at a time; set E2E_ACCEL=kvm where that works.
//
// Left out: UEFI HTTP Boot by GRUB, which finds no prefix there (upstream and
// Debian 2.06).
//
// It needs root, qemu, and what `test/packages.sh matrix` brings. The kernel is
// looked for in E2E_KERNEL, a folder with vmlinuz and the virtio modules as
// NAME.ko, and in .cache/e2e, which test/packages.sh fills.
package e2e
