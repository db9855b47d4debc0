package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"helperd/config"
)

// Origin is where a file of an artifact is: on this machine, or to be fetched.
type Origin = config.Source

// An Artifact is what machines of one architecture boot.
type Artifact struct {
	// Wanted is what the file asks for.
	Wanted *Set
	// Boots is what nodes are told to boot: Wanted, or the version before until all of Wanted is here.
	Boots *Set
}

// A Set is one version of an artifact for one architecture. Its files belong
// together: a kernel finds no system in another version's rootfs.
type Set struct {
	Artifact string
	Arch     string
	// Version is part of the URL paths of files that are fetched, so that a node
	// that has booted one version's kernel gets that version's rootfs. Empty: the
	// files are where the user keeps them, and their URL paths stay.
	Version string
	// Release is what the stream calls the version; empty for single files.
	Release string
	Files   []File
}

// File gives the file of that part, such as kernel; nil: there is none.
func (s *Set) File(part string) *File {
	for i := range s.Files {
		if s.Files[i].Part == part {
			return &s.Files[i]
		}
	}
	return nil
}

// image is the URL path of what an installer writes to the disk.
func (s *Set) image() string { return cmp.Or(s.path(PartRootfs), s.path(PartMetal)) }

// path is the URL path of a part; empty: there is none.
func (s *Set) path(part string) string {
	if f := s.File(part); f != nil {
		return f.Path
	}
	return ""
}

// Same reports whether o is the same version of the same artifact.
func (s *Set) Same(o *Set) bool {
	return s.Artifact == o.Artifact && s.Arch == o.Arch && s.Version == o.Version
}

// The parts of an artifact.
const (
	PartKernel    = "kernel"
	PartInitramfs = "initramfs"
	PartRootfs    = "rootfs"
	PartMetal     = "metal"
	PartISO       = "iso"
)

// File is a file under a name of ours.
type File struct {
	Path   string // URL path, such as /artifacts/rhcos/kernel
	File   string // path on this machine; empty: it is fetched from URL
	URL    string
	SHA256 string // in lower-case hex; empty: it is served as it is
	Part   string // of the artifact, such as kernel; empty: a boot loader
	// Inside is the loader that is meant when File is an ISO that holds it; empty: the file itself.
	Inside Loader
	// OnDemand says that it is fetched when a machine first asks for it.
	OnDemand bool
}

// Fetched reports whether the file comes from elsewhere.
func (f *File) Fetched() bool { return f.File == "" }

// From is where the file comes from, fit to be shown: user, password and query of a URL are left out.
func (f *File) From() string {
	if f.File != "" {
		return f.File
	}
	return Shown(f.URL)
}

// Shown is a URL without its secrets: user, password and query.
func Shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a URL that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// A StreamSource is where a stream JSON is to be read.
type StreamSource struct {
	Artifact string
	Origin   Origin
	Arches   []string // of the nodes that boot from it, sorted
}

// artifacts derives the sets of all artifacts.
func (b *builder) artifacts() {
	for i := range b.c.Artifacts {
		a := &b.c.Artifacts[i]
		if a.Stream == (Origin{}) {
			b.add(plainSet(a))
			continue
		}
		arches := b.archesOf(a)
		b.p.Streams = append(b.p.Streams, StreamSource{a.Name, a.Stream, arches})
		b.streamSets(a, arches)
	}
	for _, s := range b.facts.Kept {
		if !slices.ContainsFunc(b.p.Artifacts, func(a Artifact) bool { return a.Wanted.Same(s) || a.Boots.Same(s) }) {
			b.p.Kept = append(b.p.Kept, s)
		}
	}
}

// archesOf are the architectures of the nodes that boot from a.
func (b *builder) archesOf(a *config.Artifact) []string {
	var arches []string
	for _, cc := range b.c.Clusters {
		if cc.Artifacts != a.Name {
			continue
		}
		for _, n := range cc.Nodes {
			arches = append(arches, n.Arch)
		}
	}
	slices.Sort(arches)
	return slices.Compact(arches)
}

func (b *builder) streamSets(a *config.Artifact, arches []string) {
	fact := b.facts.Streams[a.Stream]
	if fact.Stream == nil {
		return // unserved says so
	}
	for _, arch := range arches {
		from, ok := fact.Stream.Arches[arch]
		if !ok {
			at := fmt.Sprintf("artifacts[%d].stream", slices.IndexFunc(b.c.Artifacts, func(o config.Artifact) bool { return o.Name == a.Name }))
			b.say(config.Warning, at, "artifact %q: stream %q has no live installer for %s, so nodes of that architecture boot nothing from here; take a stream that has, or correct their arch", a.Name, fact.Stream.Name, arch)
			continue
		}
		b.add(streamSet(a, arch, from))
	}
}

// add takes the set into the plan and decides what boots.
func (b *builder) add(wanted *Set) {
	a := Artifact{Wanted: wanted, Boots: wanted}
	if !b.whole(wanted) {
		for _, s := range b.facts.Kept { // the latest first
			if s.Artifact == wanted.Artifact && s.Arch == wanted.Arch {
				a.Boots = s
				break
			}
		}
	}
	b.p.Artifacts = append(b.p.Artifacts, a)
}

// whole reports whether all that a network boot loads of s is on this machine.
func (b *builder) whole(s *Set) bool {
	for i := range s.Files {
		f := &s.Files[i]
		if f.Fetched() && !f.OnDemand && f.Part != PartISO && !b.facts.Present[f.SHA256] {
			return false
		}
	}
	return true
}

// boots is the set that n boots; nil: none is known.
func (b *builder) boots(artifact, arch string) *Set {
	for _, a := range b.p.Artifacts {
		if a.Boots.Artifact == artifact && a.Boots.Arch == arch {
			return a.Boots
		}
	}
	return nil
}

// others are the images of the versions that a node of that architecture may
// have begun with, if it is told to boot set now.
func (b *builder) others(set *Set) []string {
	var out []string
	for _, a := range b.p.Artifacts {
		if a.Boots == set && a.Wanted != set {
			out = append(out, a.Wanted.image())
		}
	}
	for _, k := range b.p.Kept {
		if k.Arch == set.Arch {
			out = append(out, k.image())
		}
	}
	return out
}

// plainSet is the set of an artifact whose files are named one by one.
func plainSet(a *config.Artifact) *Set {
	s := &Set{Artifact: a.Name, Arch: a.Arch}
	for _, p := range []struct {
		part   string
		source Origin
	}{{PartKernel, a.Kernel}, {PartInitramfs, a.Initramfs}, {PartRootfs, a.Rootfs}, {PartMetal, a.Metal}, {PartISO, a.ISO}} {
		s.put(p.part, p.source, false)
	}
	s.place(artifactPath(a, ""))
	return s
}

// streamSet is what a stream has for one architecture. Disk images and the ISO
// are large, and most sites never use them.
func streamSet(a *config.Artifact, arch string, from StreamArch) *Set {
	s := &Set{Artifact: a.Name, Arch: arch, Release: from.Release}
	s.put(PartKernel, from.Kernel, false)
	s.put(PartInitramfs, from.Initramfs, false)
	s.put(PartRootfs, from.Rootfs, false)
	s.put(PartMetal, from.Metal, true)
	s.put(PartISO, from.ISO, true)
	s.place(artifactPath(a, arch))
	return s
}

func (s *Set) put(part string, from Origin, onDemand bool) {
	if from != (Origin{}) {
		s.Files = append(s.Files, File{File: from.File, URL: from.URL, SHA256: strings.ToLower(from.SHA256), Part: part, OnDemand: onDemand})
	}
}

// place gives the files their URL paths below dir.
func (s *Set) place(dir string) {
	if slices.ContainsFunc(s.Files, func(f File) bool { return f.Fetched() }) {
		h := sha256.New()
		for i := range s.Files {
			f := &s.Files[i]
			_, _ = fmt.Fprintf(h, "%s\x00%s\x00%s\n", f.Part, f.File, f.SHA256) // a hash takes everything
		}
		s.Version = hex.EncodeToString(h.Sum(nil))[:8]
	}
	for i := range s.Files {
		s.Files[i].Path = path.Join(dir, s.Version, s.Files[i].Part)
	}
}

// files are all that is served of a: what nodes boot, and what the file asks for.
func (a *Artifact) files() []File {
	if a.Boots == a.Wanted {
		return a.Wanted.Files
	}
	return slices.Concat(a.Wanted.Files, a.Boots.Files)
}

// filesOf are the files of the artifact called name, of all architectures.
func (b *builder) filesOf(name string) []File {
	var out []File
	for i := range b.p.Artifacts {
		if a := &b.p.Artifacts[i]; a.Wanted.Artifact == name {
			out = append(out, a.files()...)
		}
	}
	return out
}

// keptFiles are those of versions that nodes in the middle of an installation may still need.
func (b *builder) keptFiles() []File {
	var out []File
	for _, s := range b.p.Kept {
		out = append(out, s.Files...)
	}
	return out
}

// bootImages are those of fs that a boot loader loads.
func bootImages(fs []File) []File {
	var out []File
	for _, f := range fs {
		if f.Part == PartKernel || f.Part == PartInitramfs {
			out = append(out, f)
		}
	}
	return out
}
