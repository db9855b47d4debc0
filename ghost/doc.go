// Package ghost plays machines that boot from the network. A ghost node has a
// MAC address and a network namespace of its own and does what a real machine
// does, in the order and with the timers that it does it: its firmware asks by
// DHCP (RFC 2131, RFC 4578) from a raw socket, loads a boot loader by TFTP
// (RFC 1350, 2347-2349, 7440) or HTTP, runs the boot script, loads kernel and
// initramfs, and then, as the RHCOS live system, fetches rootfs and ignition,
// resolves the names that OpenShift needs, boots from its disk and joins the
// cluster through the balancer. No kernel runs: what is loaded is counted and
// thrown away.
//
// It knows nothing of the server but what comes over the wire, and shares no
// code with it: what it believes of DHCP, TFTP and DNS is what independent
// libraries and the firmware's own packet captures say.
//
// Left out: IPv6, Secure Boot (no signature is checked), bonds and VLANs.
package ghost
