package plan

import (
	"path/filepath"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/tools/txtar"

	"helperd/config"
)

// FuzzCompile is about files that config.Load accepts, however odd: what
// follows from them must fit the services.
func FuzzCompile(f *testing.F) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(a.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, yaml []byte) {
		c, ds := config.Load(yaml)
		if ds.HasErrors() {
			return
		}
		p, ds := Compile(c, Facts{Serial: 1})
		for _, d := range ds {
			if d.Line < 1 || d.Column < 1 || d.Message == "" {
				t.Errorf("diagnostic %#v", d)
			}
		}
		if ds.HasErrors() {
			return
		}
		onceEach(t, p)
		records := p.DNS.Names
		for _, z := range p.DNS.Zones {
			records = append(records, z.Records...)
		}
		for _, r := range records {
			if rr, err := dns.NewRR(r.String()); err != nil || rr == nil {
				t.Errorf("record %q: %v", r, err)
			}
		}
		if Diff(p, p) != nil || p.String() == "" {
			t.Errorf("plan %q", p)
		}
	})
}
