// Package boot renders what boot loaders read, and finds the boot loaders.
//
// A node is told the same by each loader: kernel, initramfs and arguments of
// its plan.Boot, or to start from its disk. iPXE and PXELINUX (lpxelinux.0) load
// both files by HTTP; GRUB loads them from where it was loaded itself, by TFTP,
// because GRUB before 2.12 speaks HTTP on port 80 only.
//
// Files finds the node that a requested path means, by MAC or by address, in
// the names that PXELINUX, GRUB (RFC 5071 and custom) and iPXE ask for. Who may
// have a token and whether a node starts from its disk is decided by the caller.
//
// No boot loader is shipped: FindLoaders looks where the packages of Debian and
// Fedora put them, and Missing names the package of what is not there.
package boot
