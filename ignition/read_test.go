package ignition

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/ignition/v2/config"
	"github.com/google/go-cmp/cmp"

	"helperd/plan"
)

// rig is a folder of ignition files.
type rig struct {
	*Store
	dir  string
	role *plan.Ignition
	own  *plan.Ignition // of the node alone
	node *plan.Node
}

func newRig(t testing.TB) *rig {
	t.Helper()
	g := &rig{Store: New(func() time.Time { return today }), dir: t.TempDir()}
	g.node = &plan.Node{Name: "w0", FQDN: "w0.ocp4.example.com", Role: plan.Worker}
	file := filepath.Join(g.dir, "worker.ign")
	g.role = &plan.Ignition{File: file, Cluster: "ocp4.example.com", Role: plan.Worker, Nodes: []*plan.Node{g.node}}
	own := *g.role
	own.Node, own.Keyfiles = g.node, []plan.Keyfile{{Name: "enp1s0", Content: "[connection]\nid=enp1s0\n"}}
	g.own = &own
	return g
}

func (g *rig) write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g *rig) read(t testing.TB, entry *plan.Ignition, n *plan.Node) string {
	t.Helper()
	b, err := g.Read(entry, n)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRead(t *testing.T) {
	g := newRig(t)
	const role, own = `{"ignition": {"version": "3.2.0"}}` + "\n", `{"ignition": {"version": "3.4.0"}}`
	g.write(t, "worker.ign", role)
	if got := g.read(t, g.role, g.node); got != role {
		t.Errorf("the role's file arrives as %q", got)
	}
	if got := g.read(t, g.role, nil); got != role {
		t.Errorf("a machine that is no node gets %q", got)
	}
	g.write(t, "w0.ign", own)
	for _, entry := range []*plan.Ignition{g.role, g.own} {
		if got := g.read(t, entry, g.node); got != own {
			t.Errorf("with a file of its own the node gets %q", got)
		}
	}
	if got := g.read(t, g.role, nil); got != role {
		t.Errorf("a machine that is no node gets the file of one: %q", got)
	}
	if err := os.Remove(filepath.Join(g.dir, "w0.ign")); err != nil {
		t.Fatal(err)
	}
	if got := g.read(t, g.role, g.node); got != role {
		t.Errorf("after its own file has gone it gets %q", got)
	}
}

// What is merged is what Ignition itself makes of it.
func TestMerged(t *testing.T) {
	for _, version := range []string{"2.2.0", "3.0.0", "3.2.0", "3.5.0"} {
		t.Run(version, func(t *testing.T) {
			g := newRig(t)
			role := `{"ignition":{"version":"` + version + `"},"storage":{"files":[{"path":"/etc/motd"}]}}`
			g.write(t, "worker.ign", role)
			body := g.read(t, g.own, g.node)
			if _, err := Parse([]byte(body)); err != nil {
				t.Fatal(err)
			}
			var got struct {
				Ignition struct {
					Version string
					Config  struct{ Merge, Append []struct{ Source string } }
				}
				Storage struct {
					Files []struct {
						Path, Filesystem string
						Mode             int
						Contents         struct{ Source string }
					}
				}
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			taken, filesystem := got.Ignition.Config.Merge, ""
			if version[0] == '2' {
				taken, filesystem = got.Ignition.Config.Append, "root"
			}
			if len(taken) != 1 || string(resource{Source: taken[0].Source}.content()) != role || got.Ignition.Version != version {
				t.Errorf("the role's file is not taken in as it is: %s", body)
			}
			var files []string
			for _, f := range got.Storage.Files {
				if f.Filesystem != filesystem {
					t.Errorf("%s lies on file system %q", f.Path, f.Filesystem)
				}
				files = append(files, strings.Join([]string{f.Path, modes[f.Mode], string(resource{Source: f.Contents.Source}.content())}, " "))
			}
			want := []string{"/etc/hostname 0644 w0.ocp4.example.com\n", "/etc/NetworkManager/system-connections/enp1s0.nmconnection 0600 [connection]\nid=enp1s0\n"}
			if d := cmp.Diff(want, files); d != "" {
				t.Error(d)
			}
		})
	}
	g := newRig(t)
	g.write(t, "worker.ign", `{"ignition":{"version":"3.2.0"}}`)
	if _, found, err := config.Parse([]byte(g.read(t, g.own, g.node))); err != nil || len(found.Entries) > 0 {
		t.Errorf("Ignition says of it: %v %v", err, found)
	}
}

var modes = map[int]string{0o644: "0644", 0o600: "0600"}

func TestUnfit(t *testing.T) {
	tests := []struct {
		name    string
		content string
		expired bool // serve it all the same
		says    string
	}{
		{"empty", "", false, "worker.ign of ocp4.example.com is no ignition file: it is empty"},
		{"no JSON", "{", false, "worker.ign of ocp4.example.com is no ignition file: line 1"},
		{"invalid", `{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":"x"}]}}`, false, "$.storage.files.0.path"},
		{"expired", withCert(t, -90*time.Minute), false, "expired 1h30m0s ago"},
		{"expired and wanted", withCert(t, -90*time.Minute), true, ""},
		{"ends soon", withCert(t, time.Minute), false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.role.Expired = tt.expired
			g.write(t, "worker.ign", tt.content)
			_, err := g.Read(g.role, g.node)
			if tt.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), g.dir) {
				t.Errorf("err = %v, want %q and no path of the machine", err, tt.says)
			}
		})
	}
	g := newRig(t)
	if _, err := g.Read(g.role, g.node); err == nil || !strings.Contains(err.Error(), "openshift-install create ignition-configs") || strings.Contains(err.Error(), g.dir) {
		t.Errorf("missing: %v", err)
	}
	if len(g.kept) > 0 {
		t.Errorf("%d entries are kept of files that are not there", len(g.kept))
	}
}

func TestProblems(t *testing.T) {
	g := newRig(t)
	want := func(says ...string) {
		t.Helper()
		got := append(g.Problems(g.role), g.Problems(g.own)...)
		if len(got) != len(says) {
			t.Fatalf("problems %q, want %d", got, len(says))
		}
		for i, s := range says {
			if !strings.Contains(got[i], s) || !strings.HasPrefix(got[i], g.dir) {
				t.Errorf("problem %q, want %q with the path", got[i], s)
			}
		}
	}
	want("is not there yet")
	g.write(t, "worker.ign", withCert(t, 5*time.Hour))
	want("ends in 5h0m0s")
	g.role.Expired = true
	g.write(t, "worker.ign", withCert(t, -5*time.Hour))
	want("expired 5h0m0s ago, and it is served")
	g.write(t, "worker.ign", withCert(t, 7*time.Hour))
	want()
	g.write(t, "w0.ign", "{")
	want("w0.ign of ocp4.example.com is no ignition file")
	if end := g.Ends(g.role.File); !end.Equal(today.Add(7 * time.Hour)) {
		t.Errorf("ends at %v", end)
	}
}

// A rack that asks at once costs one parse, and a file that changes is read anew.
func TestKept(t *testing.T) {
	g := newRig(t)
	g.write(t, "worker.ign", withCert(t, time.Hour))
	first, err := g.load(g.role.File)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 200 {
		all.Add(1)
		go func() {
			defer all.Done()
			if f, err := g.load(g.role.File); err != nil || f != first {
				t.Errorf("it was read again: %v", err)
			}
		}()
	}
	all.Wait()
	next := filepath.Join(g.dir, "next")
	if err := os.WriteFile(next, []byte(`{"ignition":{"version":"3.2.0"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, g.role.File); err != nil {
		t.Fatal(err)
	}
	if f, err := g.load(g.role.File); err != nil || f == first || !f.Ends.IsZero() {
		t.Errorf("a file that was replaced is not read again: %v", err)
	}
}

// A file that changed a moment ago may change again without showing it.
func TestFreshFileIsNotKept(t *testing.T) {
	g := newRig(t)
	g.now = time.Now
	g.write(t, "worker.ign", withCert(t, time.Hour))
	first, err := g.load(g.role.File)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := g.load(g.role.File); err == nil && f == first {
		if st, err := os.Stat(g.role.File); err == nil && time.Since(st.ModTime()) < settled {
			t.Error("it is trusted too early")
		}
	}
}

func TestKeptIsBounded(t *testing.T) {
	g := newRig(t)
	g.write(t, "worker.ign", `{"ignition":{"version":"3.2.0"},"x":"`+strings.Repeat("x", 1<<20)+`"}`)
	for range maxKept>>20 + 10 {
		g.keep(g.role.File, g.entry(g.role.File), 1<<20)
		g.entry(url.PathEscape(time.Now().String()))
	}
	if g.size > maxKept {
		t.Errorf("%d bytes are kept", g.size)
	}
}

func BenchmarkReadKept(b *testing.B) {
	g := newRig(b)
	g.write(b, "worker.ign", withCert(b, time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Read(g.role, g.node); err != nil {
			b.Fatal(err)
		}
	}
}
