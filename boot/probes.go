package boot

import "regexp"

// probes are files that firmware and boot loaders ask for and do without. Shim
// asks for revocations and certificates, GRUB for its module lists, iPXE since
// 2024 for a script of the user's; PXELINUX and GRUB ask for a file by UUID before
// the one by MAC, and for the address and ever shorter parts of it afterwards.
var probes = regexp.MustCompile(`(?i)(^|/)(revocations[^/]*\.efi|shim_certificate[^/]*\.efi|[^/]*\.lst|autoexec\.ipxe|` +
	`(pxelinux\.cfg/|grub\.cfg-)([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{1,8}))$`)

// IsProbe reports whether a miss of path is no news: it is answered at once,
// and people are not told.
func IsProbe(path string) bool { return probes.MatchString(path) }
