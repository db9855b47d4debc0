// Package iso makes of one CoreOS live ISO the installation medium of a node:
// the node's kernel arguments and ignition file stand in the areas that the ISO
// reserves for them. Nothing is copied: an Image is the file as it is on the
// disk, with those few bytes replaced while they are read.
//
// The areas are those of coreos-installer (docs/iso-embed-ignition.md,
// src/live/embed.rs) as coreos-assembler lays them out:
//
//   - Ignition: the file that /coreos/igninfo.json names, else
//     /images/ignition.img, else what a header at byte 32744 points to
//     ("coreiso+", offset, length; 64 bits each, little-endian). It holds a compressed cpio archive
//     (newc) with the one file config.ign, and zeros up to its end; the boot loader loads it as one
//     more initramfs.
//   - Kernel arguments: the places in the boot loaders' configuration that
//     /coreos/kargs.json lists, else what a header at byte 32672 points to ("coreKarg",
//     length, offset of the defaults, six offsets). Each holds the arguments, a line feed, and # up to its end.
//
// The live system's ignition configuration is what `coreos-installer iso
// customize --dest-ignition` makes: it puts the node's file to /etc/coreos/dest.ign
// and tells the installer to use it.
package iso
