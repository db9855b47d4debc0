package plan

import (
	"strings"
	"testing"

	"helperd/config"
)

var (
	oldSum = strings.Repeat("1", 64)
	newSum = strings.Repeat("2", 64)
)

// fetched is the small file with artifacts by URL.
func fetched(sum string) string {
	return strings.NewReplacer(
		"{file: /srv/kernel}", `{url: "https://u:secret@example.com/kernel?token=secret", sha256: `+sum+"}",
		"{file: /srv/rootfs}", `{url: "https://example.com/rootfs", sha256: `+strings.ToUpper(sum)+"}",
	).Replace(small)
}

func compileWith(t *testing.T, yaml string, f Facts) *Plan {
	t.Helper()
	c, ds := config.Load([]byte(yaml))
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	p, ds := Compile(c, f)
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	return p
}

// Nodes boot the version before until the new one is whole, and both are served.
func TestVersionBeforeBoots(t *testing.T) {
	first := compileWith(t, fetched(oldSum), Facts{}).Artifacts[0].Wanted
	facts := Facts{Present: map[string]bool{oldSum: true}, Kept: []*Set{first}}

	p := compileWith(t, fetched(newSum), facts)
	a := p.Artifacts[0]
	if a.Boots != first || a.Wanted.Same(first) {
		t.Fatalf("boots %+v, wanted %+v", a.Boots, a.Wanted)
	}
	if got := p.Nodes[0].Boot; got.Kernel != first.path(PartKernel) || !strings.Contains(strings.Join(got.Args, " "), first.path(PartRootfs)) {
		t.Errorf("boots %+v", got)
	}
	if len(p.HTTP.Files) != 6 || len(p.TFTP.Files) != 4 || len(p.Kept) != 0 {
		t.Errorf("%d files by HTTP, %d by TFTP, %d kept", len(p.HTTP.Files), len(p.TFTP.Files), len(p.Kept))
	}

	facts.Present[newSum] = true
	p = compileWith(t, fetched(newSum), facts)
	if a := p.Artifacts[0]; a.Boots != a.Wanted || len(p.Kept) != 1 || p.Kept[0] != first {
		t.Errorf("boots %+v, kept %v", a.Boots, p.Kept)
	}
	if bt := p.Nodes[0].Boot; !bt.Installs(first.path(PartRootfs)) || !bt.Installs(bt.Image) || bt.Installs(first.path(PartKernel)) {
		t.Errorf("a node that began with the version before does not install by it: %+v", bt)
	}
	if len(p.HTTP.Files) != 6 || len(p.TFTP.Files) != 4 {
		t.Errorf("%d files by HTTP, %d by TFTP", len(p.HTTP.Files), len(p.TFTP.Files))
	}
	if text := p.String(); strings.Contains(text, "secret") {
		t.Errorf("the plan tells the secret of a URL:\n%s", text)
	}

	// Another artifact's version is no substitute.
	p = compileWith(t, strings.ReplaceAll(fetched(newSum), "rhcos", "fcos"), Facts{Kept: []*Set{first}})
	if a := p.Artifacts[0]; a.Boots != a.Wanted {
		t.Errorf("fcos boots %+v", a.Boots)
	}
}

// The path of a file that is fetched changes with the content of any file of its version.
func TestVersionInThePath(t *testing.T) {
	one, same, two := compileWith(t, fetched(oldSum), Facts{}), compileWith(t, fetched(oldSum), Facts{}), compileWith(t, fetched(newSum), Facts{})
	path := func(p *Plan) string { return p.Nodes[0].Boot.Kernel }
	if path(one) != path(same) || path(one) == path(two) || !strings.HasPrefix(path(one), "/artifacts/rhcos/") {
		t.Errorf("paths %s, %s, %s", path(one), path(same), path(two))
	}
}
