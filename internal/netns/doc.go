// Package netns gives a test network namespaces of its own, joined by veth
// pairs and bridges, so that it can talk DHCP, TFTP, DNS and the like with
// real clients and never touch the machine's own network.
//
// Only tests import it. It drives iproute2 and needs CAP_SYS_ADMIN (root);
// without them the test is skipped with the reason, or fails when the
// environment says HELPERD_NO_SKIP=1, as it does in CI.
//
// Left out: anonymous namespaces, network emulation (loss, delay), and
// namespaces of other kinds than network.
package netns
