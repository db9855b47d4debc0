package preflight

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"helperd/plan"
)

// labels looks for files whose SELinux type no network daemon may read. It
// looks only while SELinux enforces.
func labels(_ context.Context, p *plan.Plan, env *Env) []Finding {
	if b, err := env.ReadFile("/sys/fs/selinux/enforce"); err != nil || strings.TrimSpace(string(b)) != "1" {
		return nil
	}
	var paths []string
	for _, f := range append(slices.Clone(p.HTTP.Files), p.TFTP.Files...) {
		paths = append(paths, f.File)
	}
	for _, i := range p.HTTP.Ignition {
		paths = append(paths, i.File)
	}
	paths = append(paths, p.HTTP.Root, p.TFTP.Root, p.FTP.Root)
	for _, e := range p.NFS.Exports {
		paths = append(paths, e.Path)
	}
	slices.Sort(paths)
	var found []Finding
	good := 0
	for _, path := range slices.Compact(paths) {
		if path == "" {
			continue
		}
		label, err := env.Label(path)
		if err != nil {
			continue // a file that is not there was reported as such
		}
		kind := labelType(label)
		if !private(kind) {
			good++
			continue
		}
		folder := filepath.Dir(path)
		found = append(found, Finding{
			Level: Warning, Check: "selinux", Where: path, What: "has the type " + kind, Why: "SELinux enforces, and confined daemons may not read that type",
			Do: fmt.Sprintf("semanage fcontext -a -t public_content_t '%s(/.*)?' && restorecon -R %s", folder, folder),
		})
	}
	if good > 0 {
		found = append(found, Finding{Level: OK, Check: "selinux", What: fmt.Sprintf("%d files and folders have labels that daemons may read", good)})
	}
	return found
}

// labelType is the third part of USER:ROLE:TYPE:LEVEL.
func labelType(label string) string {
	f := strings.SplitN(label, ":", 4)
	if len(f) < 3 {
		return label
	}
	return f[2]
}

// private types belong to people or to nobody: files that were moved, not
// copied, from a home folder keep theirs.
func private(kind string) bool {
	switch kind {
	case "tmp_t", "user_tmp_t", "default_t", "unlabeled_t", "file_t", "admin_home_t":
		return true
	}
	return strings.HasSuffix(kind, "_home_t") || kind == "user_home_dir_t"
}
