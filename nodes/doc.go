// Package nodes owns what is known of a node beyond the file: whether it is to be installed or
// boots its disk, the token that lets it fetch its ignition, and the address that DHCP proved to be
// its own. It survives restarts.
//
// Boot once: a complete fetch of rootfs and ignition earns a node one boot from its disk; of
// the rootfs alone, where its cluster has no ignition files here. Installed
// is a node only when its system is seen: it connects to the machine config server (22623), or its
// 6443, 22623 or 10250 answers. The balancer says so of the first three, Probe of the last. A
// network boot within 15 minutes of a disk boot without that evidence is a failed installation,
// which is tried once more.
//
// Clusters of which nothing is known: when the daemon starts without state, all that are in its
// first configuration; later those that come into the file. They are asked. If a master of one answers
// /readyz within three seconds, or an ignition file of it has expired, its nodes are protected: they boot
// their disk until `helperd nodes reinstall NAME`. What is added to a cluster later is new and is
// installed. Where no cluster answered, whoever shows itself within 15 minutes, before it asks for
// its script, is installed too.
//
// The gate: an ignition file goes to the address of a node while that node is being installed, with
// the token of its boot script; or, when DHCP proved nothing while it booted, if the neighbour
// table or DHCP proves it since; or when a person opened the gate (Arm) or made an ISO.
package nodes
