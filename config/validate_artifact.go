package config

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// fileName is what may stand in a URL path and a file name unescaped.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (v *validator) artifacts() {
	v.unique("artifacts", "name", "artifact", namesOf(v.c.Artifacts, func(a Artifact) string { return a.Name }))
	for i, a := range v.c.Artifacts {
		if p := index("artifacts", i); !v.failed[p] {
			v.artifact(p, a)
		}
	}
}

func (v *validator) artifact(p string, a Artifact) {
	who := fmt.Sprintf("artifact %q", clip(a.Name))
	if a.Name != "" && !fileName.MatchString(a.Name) {
		v.errorf(p+".name", "%s: the name becomes part of an address; use letters, digits, dot, hyphen and underscore", who)
	}
	v.absolute(p+".loader", who, a.Loader)
	parts := []struct {
		key string
		s   Source
	}{{"kernel", a.Kernel}, {"initramfs", a.Initramfs}, {"rootfs", a.Rootfs}, {"metal", a.Metal}, {"iso", a.ISO}, {"stream", a.Stream}}
	has := map[string]bool{}
	for _, part := range parts {
		at := p + "." + part.key
		has[part.key] = v.c.Written(at) || v.broken(at)
		if v.c.Written(at) && !v.broken(at) {
			v.source(at, who+" "+part.key, part.s, part.key != "stream")
		}
	}
	v.completeArtifact(p, who, has)
}

// completeArtifact checks that the files make a system that boots and installs.
func (v *validator) completeArtifact(p, who string, has map[string]bool) {
	if has["stream"] {
		for _, k := range []string{"kernel", "initramfs", "rootfs", "metal", "iso"} {
			if has[k] {
				v.errorf(p+"."+k, "%s: the stream already names the %s; remove one of them", who, k)
			}
		}
		return
	}
	for _, k := range []string{"kernel", "initramfs"} {
		if !has[k] {
			v.errorf(p, "%s: key %q is missing; write %s: {file: /PATH}", who, k, k)
		}
	}
	switch {
	case !has["rootfs"] && !has["metal"]:
		v.errorf(p, "%s: neither rootfs (4.6 and later) nor metal (4.5 and earlier); write rootfs: {file: /PATH}", who)
	case has["rootfs"] && has["metal"]:
		v.errorf(p+".metal", "%s: rootfs and metal are of different installers; keep rootfs for 4.6 and later, metal for 4.5 and earlier", who)
	}
}

// source checks one file; a URL must be pinned by its checksum.
func (v *validator) source(p, who string, s Source, pinned bool) {
	v.absolute(p+".file", who, s.File)
	switch {
	case s.File != "" && s.URL != "":
		v.errorf(p+".url", "%s: file and url are both written; keep one", who)
	case s.File == "" && s.URL == "":
		v.errorf(p, "%s: where the file is, is missing; write {file: /PATH} or {url: ..., sha256: ...}", who)
	case s.URL != "":
		u, err := url.Parse(s.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.ContainsFunc(s.URL, unicode.IsSpace) {
			v.errorf(p+".url", "%s: %q cannot be fetched; write http://HOST/PATH or https://HOST/PATH", who, clip(withoutUser(s.URL)))
		}
		if u != nil && u.Scheme == "http" && !pinned && s.SHA256 == "" {
			v.warnf(p+".url", "%s: it comes by plain HTTP and says which files are right, so anybody on the way can change what nodes boot; write https://, or its sha256 beside it", who)
		}
		if pinned && s.SHA256 == "" {
			v.errorf(p+".url", "%s: url without sha256; write the checksum that sha256sum prints beside it", who)
		}
	}
	if b, err := hex.DecodeString(s.SHA256); s.SHA256 != "" && (err != nil || len(b) != 32) {
		v.errorf(p+".sha256", "%s: sha256 %q has %d characters; write the 64 hex digits that sha256sum prints", who, clip(s.SHA256), len(s.SHA256))
	}
}

// printable says why s cannot stand on a kernel command line as one word; empty: it can.
func printable(s string) string {
	for _, r := range s {
		switch {
		case unicode.IsControl(r):
			return "a control character"
		case unicode.IsSpace(r):
			return "a space"
		}
	}
	return ""
}

// withoutUser is a URL without user and password: what is said of a file is logged.
func withoutUser(address string) string {
	scheme, rest, _ := strings.Cut(address, "//")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		return scheme + "//" + rest[i+1:]
	}
	return address
}
