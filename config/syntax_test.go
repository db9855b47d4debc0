package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestNotYAML is about files that are no YAML, or none that is a configuration.
func TestNotYAML(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"empty", "", []string{"1:1: the file is empty; the smallest one has version, helper, networks and clusters"}},
		{"only comments", "# nothing\n\n", []string{"1:1: the file is empty"}},
		{"only a marker", "---\n", []string{"2:1: the file is empty"}},
		{"a text", "hello\n", []string{`1:1: this is the text "hello" where keys belong`}},
		{"a list", "- a\n", []string{"1:1: this is a list where keys belong"}},
		{"second document", base + "---\nversion: 1\n", []string{"40:1: a second document starts here"}},
		{"second document is broken", base + "---\na: [\n", []string{"42:1: a value was expected"}},
		{"tab as indentation", "helper:\n\tname: x\n", []string{"2:1: a tab indents this line; YAML wants spaces"}},
		{"tab after spaces", "helper:\n  name: x\n \taddress: y\n", []string{"3:2: a tab indents this line"}},
		{"tab far from the end of the construct", "helper:\n  - {a: 1,\n\tb: 2\n  - c\n", []string{"3:1: a tab indents this line"}},
		{"two colons", "helper: name: x\n", []string{`1:13: unexpected ": "`}},
		{"unclosed list", "a: [1, 2\nb: 3\n", []string{"2:2: a [list] is not closed; write , or ] (of what starts in line 1)"}},
		{"unclosed mapping", "a: {b: 1\n", []string{"2:1: a {mapping} is not closed"}},
		{"unclosed quote", "a: 'x\n", []string{"1:4: a quote is not closed"}},
		{"wrong indentation", "a:\n  - b\n c: 1\n", []string{"3:2: a key was expected; indent this line like its neighbours"}},
		{"less than the first line", "  a: 1\n b: 2\n", []string{"2:2: indented less than the first line"}},
		{"key in a list", "- a\nb: 1\n", []string{`2:1: a further "- " was expected`}},
		{"line without colon", "version: 1\nhelper\n", []string{`2:1: a key without ": "`}},
		{"reserved character", "a: @x\n", []string{"1:4: this character cannot start a value; put the text in quotes"}},
		{"escape", "a: \"\\z\"\n", []string{`1:5: unknown escape`}},
		{"unknown anchor", "a: *x\n", []string{"1:4: unknown anchor 'x' referenced"}},
		{"YAML 3", "%YAML 3.0\n---\na: 1\n", []string{"1:1: only YAML 1.1 and 1.2 are read"}},
		{"control character", "version: 1\nhelper: \x01\n", []string{"2:9: control character 0x01; remove it"}},
		{"Latin-1", "version: 1\n# M\xfcller\n", []string{"2:4: byte 0xfc is not UTF-8"}},
		{"UTF-16", "\xff\xfev\x00", []string{"1:1: the file is UTF-16; save it as UTF-8"}},
		{"too large", strings.Repeat("#\n", MaxSize/2) + "a", []string{"1:1: the file has 1048577 bytes; at most 1048576 are read"}},
		{"deep lists", strings.Repeat("[", 200_000), []string{"1:101: nested deeper than 100 levels"}},
		{"deep mappings", strings.Repeat("{a: ", 200_000), []string{"1:401: nested deeper than 100 levels"}},
		{"deep dashes", strings.Repeat("- ", 200_000), []string{"1:201: nested deeper than 100 levels"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, ds := Load([]byte(c.file))
			expect(t, ds, c.want)
		})
	}
}

func TestAliases(t *testing.T) {
	c, ds := Load(spoil(
		t,
		"    install_disk: /dev/sda", "    install_disk: &disk /dev/sda",
		"- {name: master0, ", "- &m {install_disk: *disk, static: true, name: master0, ",
		"- {name: worker0, ", "- {<<: *m, name: worker0, ",
		"      - {name: bootstrap,", "      - {kernel_args: &args [quiet], name: bootstrap,",
		"hosts:", "      - {<<: [{kernel_args: *args}, *m], name: worker1, role: worker, mac: [], ip: 192.168.7.22}\nhosts:",
	))
	if ds != nil {
		t.Fatal(ds)
	}
	nodes := c.Clusters[0].Nodes
	if n := nodes[2]; n.Name != "worker0" || n.Role != "worker" || !n.Static || n.InstallDisk != "/dev/sda" {
		t.Errorf("worker0 %+v", n)
	}
	if n := nodes[3]; n.Name != "worker1" || !n.Static || len(n.KernelArgs) != 1 || len(n.MAC) != 0 {
		t.Errorf("worker1 %+v", n)
	}
	if got, want := c.Pos("clusters[0].nodes[2].static"), c.Pos("clusters[0].nodes[1].static"); got != want {
		t.Errorf("a merged value is at %v, where it is written at %v", got, want)
	}
}

// TestAliasBombs ends at all only because unfolding is bounded: each file would
// give more than a billion values, or go on for ever.
func TestAliasBombs(t *testing.T) {
	list := func(n int, s string) string { return "[" + strings.Repeat(s+",", n) + "]" }
	mac := "mac: &m " + list(3000, `"52:54:00:00:00:01"`)
	nodes := fmt.Sprintf("nodes: &n [&o {name: a, role: master, %s},%s]", mac, strings.Repeat("*o,", 3000))
	for name, file := range map[string]string{
		"lists":        "clusters: [&c {name: c, domain: d, " + nodes + "}," + strings.Repeat("*c,", 3000) + "]",
		"merges":       "helper: &a {x: 1}\ndns: &b {<<: " + list(3000, "*a") + "}\nlb: &c {<<: " + list(3000, "*b") + "}\nhttp: {<<: " + list(3000, "*c") + "}",
		"self":         "helper: &a {<<: *a}",
		"list in self": "networks: &a [*a]",
		"cycle":        "clusters: &a [{nodes: *a}]",
	} {
		t.Run(name, func(t *testing.T) {
			if _, ds := Load([]byte(file)); !ds.HasErrors() {
				t.Error("no errors")
			}
		})
	}
}

func TestManyMistakesAreCutOff(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "nonsense%d: 1\n", i)
	}
	_, ds := Load([]byte(b.String()))
	if len(ds) < 100 || len(ds) > maxDiagnostics+1 {
		t.Fatalf("%d diagnostics", len(ds))
	}
	if last := ds[len(ds)-1].Message; !strings.Contains(last, "are not shown") {
		t.Errorf("the last says %q", last)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(base))
	f.Add([]byte(strings.ReplaceAll(base, "\n", "\r\n")))
	f.Add([]byte("a: &a {<<: *a}\nb: [*a, !!binary x, ~]\n? [x]\n: y\n"))
	f.Add([]byte("clusters: &a [{nodes: *a, name: *a}]\nversion: 0x1\n---\n"))
	f.Add([]byte("\uFEFFnetworks:\n - cidr: ::/0\n   dhcp: {pool: ::-::ffff}\n - {cidr: 0.0.0.0/0, gateway: 1.1.1.1}\n"))
	f.Add([]byte("dns: {records: [{name: '*.x', type: TXT, value: '\"a'}]}\nlb: {frontends: [{listen: ['[::]:1', 0.0.0.0:1]}]}"))
	f.Add([]byte("\"a\\nb\": 1\n\"a\\nb\": 1\nclusters: [{name: \"a\\nb\", domain: \"a\\nb\", artifacts: \"a\\nb\", nodes: [{name: \"a\\nb\", nic: \"a\\nb\"}]}]\n" +
		"artifacts: [{name: \"a\\nb\", kernel: {url: \"a\\nb\"}}]\nhosts: [{name: \"a\\nb\"}]\nlb: {frontends: [{name: \"a\\nb\", backend: \"a\\nb\"}], backends: [{name: \"a\\nb\", check: {path: \"a\\nb\"}, servers: [{name: \"a\\nb\", address: ::}]}]}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ds := Load(b)
		if (c == nil) != ds.HasErrors() {
			t.Fatalf("config %v with %q", c, ds)
		}
		for _, d := range ds {
			if d.Line < 1 || d.Column < 1 || d.Message == "" || strings.ContainsAny(d.Message, "\n\r\x00") {
				t.Fatalf("diagnostic %#v", d)
			}
		}
	})
}
