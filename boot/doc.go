// Package boot renders what boot loaders read, and finds the boot loaders.
//
// A node is told the same by each loader: kernel, initramfs and arguments of
// its plan.Boot, or to start from its disk. iPXE loads both files by HTTP, and so
// does PXELINUX when it read its configuration that way: DHCP gives lpxelinux.0 a
// prefix for that, while pxelinux.0 knows TFTP alone. GRUB loads them from where it
// was loaded itself, by TFTP, because GRUB before 2.12 speaks HTTP on port 80 only.
// Machines of IBM Z do not boot from the network: Parm is the file that starts them.
//
// Files finds the node that a requested path means, by MAC, address or UUID, in
// the names that PXELINUX, GRUB (RFC 5071 and custom) and iPXE ask for, and says
// why there is none. Who may have a token and whether a node starts from its disk
// is decided by the caller.
//
// No boot loader is shipped: FindLoaders looks where the packages of Debian and
// Fedora put them, and Missing names the package of what is not there.
package boot
