package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helperd/boot"
	"helperd/plan"
)

// loaders looks for the boot loaders that reservations name. Those that an
// artifact brings are looked at as its files.
func loaders(_ context.Context, p *plan.Plan, env *Env) []Finding {
	wanted := map[string]bool{}
	for _, r := range p.DHCP.Reservations {
		if r.Boot == nil {
			continue
		}
		for _, files := range []map[uint16]string{r.Boot.TFTP, r.Boot.HTTP} {
			for _, f := range files {
				if !strings.Contains(f, "artifacts/") {
					wanted[f[strings.LastIndexByte(f, '/')+1:]] = true
				}
			}
		}
	}
	have := env.Loaders(p.TFTP.Root)
	var found []Finding
	for _, m := range boot.Missing(have) {
		if wanted[string(m.Loader)] {
			delete(wanted, string(m.Loader))
			found = append(found, absent(m, have))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if path := have[plan.Loader(name)]; path != "" {
			found = append(found, env.file("loader", path, "machines that boot by it stop at once"))
		}
	}
	return found
}

// absent says what a missing loader means: a slower one in its place, or none.
func absent(m boot.Problem, have map[plan.Loader]string) Finding {
	f := Finding{
		Level: Problem, Check: "loader", Where: string(m.Loader), What: m.What + " is not on this machine", Why: "machines with that firmware cannot boot from here",
		Do: fmt.Sprintf("install package %s (Debian) or %s (Fedora)", m.Debian, m.Fedora),
	}
	missing := boot.MissingLoaders(have)
	for _, l := range plan.Instead(m.Loader) {
		if !slices.Contains(missing, l) {
			f.Level, f.Why = Warning, fmt.Sprintf("%s takes its place", l)
			if l == plan.GRUB64 || l == plan.GRUBAA64 {
				f.Why += ", and UEFI HTTP Boot has none"
			}
			break
		}
	}
	return f
}
