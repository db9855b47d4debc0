// Package e2e boots virtual machines by real firmware through the daemon:
// power-on, DHCP, boot loader, kernel, rootfs, ignition, DNS and balancer, as a
// node of OpenShift does, and a second time to see that an installed node
// boots its disk.
//
// What boots is a Debian kernel with a small initramfs from guest/, in place of
// the RHCOS live installer, whose kernel arguments it reads. The machines are
// emulated (no KVM); set E2E_ACCEL=kvm where that works.
//
// It needs root, qemu, and what test/packages.sh brings. The kernel is looked
// for in E2E_KERNEL, a folder with vmlinuz and the virtio modules as
// NAME.ko, and in .cache/e2e/kernel, which test/packages.sh fills.
package e2e
