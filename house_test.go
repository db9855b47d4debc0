// Package helperd_test holds the rules of the house as tests.
package helperd_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed says what each part of the tree may import of the others. Imports
// point one way: config <- plan <- services <- daemon <- cli <- cmd. A part
// may always import what is below itself; internal/ is for everybody.
var allowed = map[string][]string{
	"config":         {},
	"examples":       {},
	"plan":           {"config"},
	"boot":           {"plan"},
	"iso":            {},
	"timeline":       {"plan"},
	"state":          {"plan"},
	"ignition":       {"plan"},
	"nodes":          {"ignition", "plan", "state", "timeline"},
	"artifacts":      {"plan", "state", "timeline"},
	"ca":             {},
	"services":       {"plan", "artifacts", "boot", "ca", "timeline", "state", "nodes"},
	"services/dns":   {"plan", "artifacts", "boot", "timeline", "state", "nodes", "services"},
	"services/dhcp":  {"plan", "artifacts", "boot", "timeline", "state", "nodes", "services"},
	"services/dhcp6": {"plan", "artifacts", "boot", "timeline", "state", "nodes", "services"},
	"services/ra":    {"plan", "timeline", "services"},
	"services/tftp":  {"plan", "artifacts", "boot", "timeline", "state", "nodes", "services"},
	"services/http":  {"plan", "artifacts", "boot", "ca", "timeline", "state", "nodes", "services", "ignition", "iso"},
	"services/ftp":   {"plan", "artifacts", "boot", "timeline", "state", "nodes", "services"},
	"services/lb":    {"plan", "artifacts", "boot", "timeline", "state", "nodes", "services"},
	"services/ntp":   {"plan", "artifacts", "boot", "timeline", "state", "nodes", "services"},
	"services/nfs":   {"plan", "artifacts", "boot", "timeline", "state", "nodes", "services"},
	"api":            {"artifacts", "plan", "timeline", "state", "nodes", "services"},
	"ui":             {"plan", "services", "services/lb", "timeline", "state", "nodes", "artifacts", "ca"},
	"daemon":         {"api", "artifacts", "boot", "ca", "config", "nodes", "plan", "services", "services/*", "state", "timeline", "ui"},
	"preflight":      {"boot", "config", "plan", "ignition"},
	"ghost":          {},
	"demo":           {"api", "boot", "config", "daemon", "examples", "ghost", "plan", "timeline"},
	"cli":            {"*"},
	"cmd":            {"cli"},
	"internal":       {},
	"test":           {"*"},
}

type source struct {
	path string
	file *ast.File
	set  *token.FileSet
}

func sources(t *testing.T, tests bool) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || !tests && strings.HasSuffix(path, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, source{path, file, set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("found only %d files: the rules would hold for nothing", len(out))
	}
	return out
}

// part gives the longest key of allowed that the folder is in.
func part(dir string) string {
	for d := filepath.ToSlash(dir); d != "."; d = filepath.ToSlash(filepath.Dir(d)) {
		if _, ok := allowed[d]; ok {
			return d
		}
	}
	return ""
}

func TestImportsPointOneWay(t *testing.T) {
	for _, s := range sources(t, false) {
		from := part(filepath.Dir(s.path))
		if from == "" {
			t.Errorf("%s: its folder is in no part of the tree that this test knows", s.path)
			continue
		}
		for _, imp := range s.file.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			name, ours := strings.CutPrefix(name, "helperd/")
			if !ours {
				continue
			}
			to := part(name)
			if to == from || to == "internal" || slices.Contains(allowed[from], "*") || slices.Contains(allowed[from], to) ||
				strings.HasPrefix(to, "services/") && slices.Contains(allowed[from], "services/*") {
				continue
			}
			t.Errorf("%s imports helperd/%s: %s may import %v", s.path, name, from, allowed[from])
		}
	}
}

// A panic in a goroutine that nobody guards ends all services at once.
func TestNoBareGoroutines(t *testing.T) {
	for _, s := range sources(t, false) {
		if strings.HasPrefix(filepath.ToSlash(s.path), "internal/guard/") || part(filepath.Dir(s.path)) == "test" {
			continue
		}
		at := func(n ast.Node) string { return s.set.Position(n.Pos()).String() }
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a bare go statement; start it with a guard.Group", at(n))
			case *ast.ImportSpec:
				if strings.HasSuffix(n.Path.Value, `/errgroup"`) {
					t.Errorf("%s: errgroup starts goroutines that nobody guards; use a guard.Group", at(n))
				}
			case *ast.CallExpr:
				sel, ok := n.Fun.(*ast.SelectorExpr)
				if !ok {
					break
				}
				if isSelector(sel, "time", "AfterFunc") || isSelector(sel, "context", "AfterFunc") {
					t.Errorf("%s: AfterFunc starts a goroutine that nobody guards; use guard.Group.After", at(n))
				}
				if sel.Sel.Name == "Go" && len(n.Args) == 1 { // wherever the WaitGroup is declared; guard.Group.Go has two
					t.Errorf("%s: WaitGroup.Go starts a goroutine that nobody guards; use a guard.Group", at(n))
				}
			}
			return true
		})
	}
}

func isSelector(sel *ast.SelectorExpr, pkg, name string) bool {
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg && sel.Sel.Name == name
}

// A test that is always skipped proves nothing: netns.SkipOrFail fails in CI.
func TestNoSilentSkips(t *testing.T) {
	for _, s := range sources(t, true) {
		if strings.HasPrefix(filepath.ToSlash(s.path), "internal/netns/") || !strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && (sel.Sel.Name == "Skip" || sel.Sel.Name == "Skipf" || sel.Sel.Name == "SkipNow") {
				t.Errorf("%s: %s; use netns.SkipOrFail", s.set.Position(n.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// Every package says in its comment what it is.
func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t, false) {
		dir := filepath.Dir(s.path)
		documented[dir] = documented[dir] || s.file.Doc != nil
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}

// Metrics are helperd_<service>_<noun>_<unit>, in snake case.
func TestMetricNames(t *testing.T) {
	good := regexp.MustCompile(`^helperd_[a-z][a-z0-9]*(_[a-z0-9]+)+$`)
	seen := 0
	for _, s := range sources(t, false) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			name, err := strconv.Unquote(lit.Value)
			if err != nil || !strings.HasPrefix(name, "helperd_") {
				return true
			}
			if seen++; !good.MatchString(name) {
				t.Errorf("%s: metric %q is not helperd_<service>_<noun>_<unit>", s.set.Position(lit.Pos()), name)
			}
			return true
		})
	}
	if seen == 0 {
		t.Error("no metric found: this test would hold for nothing")
	}
}
