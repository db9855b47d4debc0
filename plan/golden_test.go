package plan

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"helperd/config"
)

var update = flag.Bool("update", false, "record the golden files anew")

// compile is the plan of a file without errors, with serial 1.
func compile(t *testing.T, yaml []byte, missing ...Loader) (*Plan, config.Diagnostics) {
	t.Helper()
	c, ds := config.Load(yaml)
	if ds.HasErrors() {
		t.Fatalf("the file is not valid:\n%v", ds)
	}
	return Compile(c, Facts{Serial: 1, MissingLoaders: missing})
}

// The golden files hold a configuration, where it names a stream JSON that too,
// and what follows from it, a file for each service.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a := txtar.Parse(want)
			p, ds := compileFiles(t, a)
			onceEach(t, p)
			if len(ds) > 0 {
				a.Files = append(a.Files, txtar.File{Name: "diagnostics", Data: []byte(ds.Error() + "\n")})
			}
			a.Files = append(a.Files, sections(p)...)
			got := txtar.Format(a)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("the plan changed (-want +got); review it and run with -update:\n%s", diff)
			}
		})
	}
}

// compileFiles is the plan of the files that a begins with; it leaves only these in a.
func compileFiles(t *testing.T, a *txtar.Archive) (*Plan, config.Diagnostics) {
	t.Helper()
	if a.Files[1].Name != "stream.json" {
		a.Files = a.Files[:1]
		return compile(t, a.Files[0].Data)
	}
	a.Files = a.Files[:2]
	c, ds := config.Load(a.Files[0].Data)
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	stream, err := ParseStream(a.Files[1].Data)
	if err != nil {
		t.Fatal(err)
	}
	facts := Facts{Serial: 1, Streams: map[Origin]StreamFact{}}
	for _, src := range StreamSources(c) {
		facts.Streams[src] = StreamFact{Stream: stream}
	}
	p, more := Compile(c, facts)
	return p, more
}

// sections are the plan as files.
func sections(p *Plan) []txtar.File {
	var out []txtar.File
	for _, s := range p.Sections() {
		out = append(out, txtar.File{Name: s.Name, Data: []byte(strings.Join(s.Lines, "\n") + "\n")})
	}
	return out
}

// Configurations of old versions, which -update leaves alone: machines that were
// installed by them must find the same names, addresses and files. What was not
// served then may be served now.
func TestStability(t *testing.T) {
	cases, err := filepath.Glob("testdata/stability/*/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimPrefix(file, "testdata/stability/"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, _ := compile(t, a.Files[0].Data)
			got := map[string]string{}
			for _, f := range sections(p) {
				got[f.Name] = string(f.Data)
			}
			for _, want := range a.Files[1:] {
				if diff := cmp.Diff(string(want.Data), got[want.Name]); diff != "" {
					t.Errorf("%s: an old configuration gives another plan (-then +now):\n%s", want.Name, diff)
				}
			}
		})
	}
}

// onceEach finds what would clash when the services take the plan over.
func onceEach(t *testing.T, p *Plan) {
	t.Helper()
	listen, pointers := map[netip.AddrPort]string{}, map[string]bool{}
	for _, f := range p.LB.Frontends {
		for _, l := range f.Listen {
			if other, taken := listen[l]; taken {
				t.Errorf("frontends %s and %s both listen on %s", other, f.Name, l)
			}
			listen[l] = f.Name
		}
	}
	for _, r := range p.DNS.Names {
		if r.Type == "PTR" && pointers[r.Name] {
			t.Errorf("%s has two names", r.Name)
		}
		pointers[r.Name] = true
	}
}

// The golden copies must be of the examples that are shipped.
func TestGoldenExamples(t *testing.T) {
	for _, name := range []string{"ocp4", "two-clusters"} {
		shipped, err := os.ReadFile("../examples/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		a, err := txtar.ParseFile("testdata/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(shipped, a.Files[0].Data) {
			t.Errorf("testdata/%s.txtar holds another file than examples/%s.yaml", name, name)
		}
	}
}
