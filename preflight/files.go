package preflight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"helperd/internal/human"
	"helperd/plan"
)

// artifacts looks at what nodes boot.
func artifacts(_ context.Context, p *plan.Plan, env *Env) []Finding {
	var paths []string
	for _, f := range append(slices.Clone(p.HTTP.Files), p.TFTP.Files...) {
		if f.File != "" {
			paths = append(paths, f.File)
		}
	}
	slices.Sort(paths)
	var found []Finding
	for _, path := range slices.Compact(paths) {
		found = append(found, env.file("artifact", path, "nodes that boot it get an error and stop"))
	}
	for _, s := range p.Streams {
		if s.Origin.File != "" {
			found = append(found, env.file("stream", s.Origin.File, "the clusters of artifact "+s.Artifact+" boot nothing from here"))
		}
	}
	return found
}

const (
	// stateDir is where the systemd unit has the daemon keep what it fetches.
	stateDir = "/var/lib/helperd"
	// installerSize in bytes is that of kernel, initramfs and rootfs of one architecture, rounded up.
	installerSize = 1500 << 20
)

// downloads looks for space for what the daemon fetches.
func downloads(_ context.Context, p *plan.Plan, env *Env) []Finding {
	sets := 0
	for _, a := range p.Artifacts {
		if a.Wanted.Version != "" {
			sets++
		}
	}
	for _, s := range p.Streams {
		if s.Origin.URL != "" { // the files that it will name
			sets += len(s.Arches)
		}
	}
	if sets == 0 {
		return nil
	}
	f := Finding{Level: OK, Check: "downloads", Where: stateDir}
	have, err := env.Free(stateDir)
	if err != nil {
		f.Level, f.What, f.Why = Skipped, "free space is not known", err.Error()
		return []Finding{f}
	}
	f.What = human.Size(have) + " are free"
	if need := int64(sets) * installerSize; have < need {
		f.Level = Warning
		f.Why = fmt.Sprintf("what the file names by url needs about %s, and twice that while a new version comes", human.Size(need))
		f.Do = "make the file system larger, or mount a larger one there"
	}
	return []Finding{f}
}

// roots looks at the folders with files of the user's own.
func roots(_ context.Context, p *plan.Plan, env *Env) []Finding {
	var found []Finding
	paths := []string{p.HTTP.Root, p.TFTP.Root, p.FTP.Root}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		if path != "" {
			found = append(found, env.folder("folder", path, "nothing in it is served"))
		}
	}
	return found
}

// exports looks at the folders that clients mount.
func exports(_ context.Context, p *plan.Plan, env *Env) []Finding {
	var found []Finding
	for _, e := range p.NFS.Exports {
		found = append(found, env.folder("export", e.Path, "clients cannot mount it"))
	}
	return found
}

// file says whether the daemon can read a file.
func (env *Env) file(check, path, why string) Finding {
	f, info := env.reach(check, path, unix.R_OK, why)
	switch {
	case f.Level != OK:
	case info.IsDir():
		f.Level, f.What, f.Why, f.Do = Problem, "is a folder", why, "name the file in it"
	case info.Size() == 0:
		f.Level, f.What, f.Why, f.Do = Problem, "is empty", why, "copy it once more"
	}
	return f
}

// folder says whether the daemon can list a folder.
func (env *Env) folder(check, path, why string) Finding {
	f, info := env.reach(check, path, unix.R_OK|unix.X_OK, why)
	if f.Level == OK && !info.IsDir() {
		f.Level, f.What, f.Why, f.Do = Problem, "is no folder", why, "name a folder"
	}
	return f
}

// reach says whether the daemon can come to path and do mode there.
func (env *Env) reach(check, path string, mode uint32, why string) (Finding, fs.FileInfo) {
	f := Finding{Level: OK, Check: check, Where: path, What: "is there and readable"}
	info, err := env.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Level, f.What, f.Why, f.Do = Problem, "is not there", why, "put it there, or correct the path in the file"
		return f, nil
	case errors.Is(err, fs.ErrPermission):
		f.Level, f.What, f.Why, f.Do = Skipped, "cannot be looked at", err.Error(), "run preflight as root"
		return f, nil
	case err != nil:
		f.Level, f.What, f.Why = Problem, err.Error(), why
		return f, nil
	}
	err = env.Access(path, mode)
	switch {
	case errors.Is(err, errOtherUser):
		f.Level, f.What = Skipped, "is there"
		f.Why, f.Do = "only root can tell whether user "+env.User.Name+" may read it", "run preflight as root"
	case err != nil:
		f.Level, f.Why = Problem, why
		f.What, f.Do = env.blocked(path, info)
	case env.User.Name == "helperd" && (strings.HasPrefix(path, "/tmp/") || strings.HasPrefix(path, "/var/tmp/")):
		f.Level, f.What = Problem, "lies in a folder for temporary files"
		f.Why, f.Do = "the systemd unit has a /tmp of its own and does not see it", "move it to /srv and correct the path"
	}
	return f, info
}

// blocked says what keeps the user from path: a folder above it, or itself.
func (env *Env) blocked(path string, info fs.FileInfo) (what, do string) {
	for _, dir := range parents(path) {
		if env.Access(dir, unix.X_OK) != nil {
			return fmt.Sprintf("user %s may not pass through %s", env.User.Name, dir),
				fmt.Sprintf("setfacl -m u:%s:x %s, or keep the files elsewhere, such as in /srv", env.User.Name, dir)
		}
	}
	what = fmt.Sprintf("user %s may not read it (mode %04o)", env.User.Name, info.Mode().Perm())
	if info.IsDir() {
		return what, fmt.Sprintf("setfacl -m u:%s:rx %s", env.User.Name, path)
	}
	return what, fmt.Sprintf("setfacl -m u:%s:r %s", env.User.Name, path)
}

// parents are the folders above path, outermost first.
func parents(path string) []string {
	var dirs []string
	for d := filepath.Dir(filepath.Clean(path)); ; d = filepath.Dir(d) {
		dirs = append(dirs, d)
		if d == filepath.Dir(d) {
			break
		}
	}
	slices.Reverse(dirs)
	return dirs
}
