package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// base is a valid file that gives no diagnostics; the cases below spoil it.
const base = `version: 1
helper: {name: helper, address: 192.168.7.2}
networks:
  - cidr: 192.168.7.0/24
    gateway: 192.168.7.1
    dhcp: {pool: 192.168.7.100-192.168.7.200}
artifacts:
  - name: rhcos
    kernel: {file: /srv/kernel}
    initramfs: {file: /srv/initramfs}
    rootfs: {file: /srv/rootfs}
clusters:
  - name: ocp4
    domain: example.com
    artifacts: rhcos
    install_disk: /dev/sda
    ignition: /srv/ignition
    nodes:
      - {name: bootstrap, role: bootstrap, mac: "52:54:00:00:00:01", ip: 192.168.7.10}
      - {name: master0, role: master, mac: "52:54:00:00:00:02", ip: 192.168.7.11}
      - {name: worker0, role: worker, mac: "52:54:00:00:00:03", ip: 192.168.7.21}
hosts:
  - {name: registry.example.com, mac: "52:54:00:00:00:09", ip: 192.168.7.9}
dns:
  forwarders: [192.168.7.1]
  records:
    - {name: git.example.com, type: A, value: 192.168.7.31}
lb:
  frontends:
    - {name: git, listen: "192.168.7.2:9418", backend: git}
  backends:
    - name: git
      check: {type: tcp}
      servers:
        - {name: g1, address: "192.168.7.31:9418"}
http: {port: 8080}
nfs:
  exports:
    - {path: /srv/export}
`

// spoil replaces old by new in base; both empty: base itself. An old that is
// not there exactly once is a mistake of the test.
func spoil(t *testing.T, edits ...string) []byte {
	t.Helper()
	s := base
	for i := 0; i < len(edits); i += 2 {
		if n := strings.Count(s, edits[i]); n != 1 {
			t.Fatalf("%q is in the file %d times", edits[i], n)
		}
		s = strings.Replace(s, edits[i], edits[i+1], 1)
	}
	return []byte(s)
}

// expect compares each diagnostic with the start of its line, such as
// "4:11: ... part of the message"; what the dots stand for may be anything.
func expect(t *testing.T, ds Diagnostics, want []string) {
	t.Helper()
	for i := range max(len(ds), len(want)) {
		switch {
		case i >= len(ds):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("too many: %s", ds[i])
		default:
			place, message, _ := strings.Cut(want[i], " ")
			if got := ds[i].String(); !strings.HasPrefix(got, place+" ") || !strings.Contains(got, message) {
				t.Errorf("got  %s\nwant %s", got, want[i])
			}
		}
	}
}

func TestBaseAndExamplesGiveNoDiagnostics(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples: %v %v", files, err)
	}
	texts := map[string][]byte{"base": []byte(base)}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = b
	}
	for name, b := range texts {
		c, ds := Load(b)
		if len(ds) > 0 || c == nil {
			t.Errorf("%s:\n%s", name, ds.Error())
		}
	}
}

func TestSmallestFile(t *testing.T) {
	const file = `version: 1
helper: {address: 10.0.0.2}
networks:
  - cidr: 10.0.0.0/24
clusters:
  - name: lab
    domain: example.com
    nodes:
      - {name: m0, role: master, ip: 10.0.0.11}
`
	c, ds := Load([]byte(file))
	expect(t, ds, []string{"4:5: warning: network 10.0.0.0/24: no gateway"})
	if c == nil || c.Clusters[0].Nodes[0].Name != "m0" {
		t.Fatalf("config %+v", c)
	}
}

func TestAllMistakesInOneRun(t *testing.T) {
	_, ds := Load(spoil(
		t,
		"address: 192.168.7.2}", "adress: 192.168.7.2}",
		"gateway: 192.168.7.1", "gateway: 192.168.8.1",
		"role: master", "role: mastr",
		`mac: "52:54:00:00:00:03"`, `mac: "52:54:00:00:00:02"`,
		"type: A,", "type: B,",
		"port: 8080", "port: eighty",
	))
	expect(t, ds, []string{
		`2:24: helper: unknown key "adress"; did you mean "address"?`,
		`5:14: gateway 192.168.8.1 is outside of the network`,
		`20:31: clusters[0].nodes[1].role: "mastr" is not allowed; did you mean "master"? (bootstrap, master, worker or arbiter)`,
		`21:44: node "worker0": MAC 52:54:00:00:00:02 is already used by node "master0" (line 20)`,
		`27:37: "B" is not allowed; write A, AAAA, CNAME, TXT, SRV, MX or PTR`,
		`36:14: http.port: "eighty" is not a whole number`,
	})
}

func TestErrorsGiveNoConfig(t *testing.T) {
	if c, ds := Load(spoil(t, "version: 1", "version: 2")); c != nil || !ds.HasErrors() {
		t.Errorf("config %v, diagnostics %v", c, ds)
	}
}

func TestBytesThatAreNotPlain(t *testing.T) {
	plain, _ := Load([]byte(base))
	for name, s := range map[string]string{
		"CRLF":                strings.ReplaceAll(base, "\n", "\r\n"),
		"byte order mark":     "\uFEFF" + base,
		"document markers":    "---\n" + base + "...\n",
		"no newline at end":   strings.TrimSuffix(base, "\n"),
		"comments everywhere": "# ünïcode ✓\n" + strings.ReplaceAll(base, "\nhosts:", " # and here\n\n# there\nhosts:"),
	} {
		c, ds := Load([]byte(s))
		if len(ds) > 0 {
			t.Errorf("%s: %s", name, ds.Error())
			continue
		}
		same := cmp.Diff(plain, c, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".positions" }, cmp.Ignore()), cmp.Exporter(func(reflect.Type) bool { return true }))
		if same != "" {
			t.Errorf("%s: %s", name, same)
		}
	}
}

func TestPositions(t *testing.T) {
	c, ds := Load([]byte(base))
	if ds != nil {
		t.Fatal(ds)
	}
	for path, want := range map[string]Position{
		"version":                     {1, 10},
		"clusters[0].nodes[1].mac":    {20, 44},
		"clusters[0].nodes[1].mac[0]": {20, 44},
		"clusters[0].nodes[2].name":   {21, 16},
		"networks[0].mtu":             {4, 5}, // not written: the network
		"ntp.port":                    {1, 1},
	} {
		if got := c.Pos(path); got != want {
			t.Errorf("%s: at %v, want %v", path, got, want)
		}
	}
}

// TestFine is about files that look like mistakes and are none.
func TestFine(t *testing.T) {
	for name, edits := range map[string][]string{
		"gateway with a name":             {"ip: 192.168.7.9}", "ip: 192.168.7.1}"},
		"helper is the gateway":           {"gateway: 192.168.7.1", "gateway: 192.168.7.2"},
		"two MACs":                        {`mac: "52:54:00:00:00:03"`, `mac: ["52:54:00:00:00:03", 5254.0000.0004]`},
		"several records of a name":       {"lb:\n", "    - {name: git.example.com, type: A, value: 192.168.7.32}\n    - {name: git.example.com, type: MX, value: 10 mail.example.com}\nlb:\n"},
		"service and wildcard names":      {"lb:\n", "    - {name: _ldap._tcp.example.com, type: SRV, value: 0 1 389 ldap.example.com}\n    - {name: \"*.dev.example.com\", type: CNAME, value: git.example.com}\nlb:\n"},
		"text of a node":                  {"lb:\n", "    - {name: master0.ocp4.example.com, type: TXT, value: '\"rack; 7\"'}\nlb:\n"},
		"balancer address of its own":     {"    domain:", "    address: 192.168.7.5\n    domain:"},
		"HTTP on an address of its own":   {"http: {port: 8080}", "http: {port: 443, listen: 192.168.7.3}"},
		"balancer off, its port in use":   {"lb:\n", "lb:\n  enabled: false\n", "port: 8080", "port: 443"},
		"arbiter beside two masters":      {"role: worker", "role: arbiter", "role: bootstrap", "role: master"},
		"no bootstrap after the install":  {"      - {name: bootstrap, role: bootstrap, mac: \"52:54:00:00:00:01\", ip: 192.168.7.10}\n", ""},
		"forwarder on this machine":       {"[192.168.7.1]", "[\"192.168.7.2:5353\", 127.0.0.53]"},
		"stream artifact, other arch":     {"    kernel: {file: /srv/kernel}\n    initramfs: {file: /srv/initramfs}\n    rootfs: {file: /srv/rootfs}\n", "    stream: {url: \"https://example.com/stream.json\"}\n", "name: worker0,", "name: worker0, arch: aarch64,"},
		"point-to-point network":          {"artifacts:\n", "  - {cidr: 192.168.9.0/31, gateway: 192.168.9.0}\nartifacts:\n"},
		"second cluster with other nodes": {"hosts:", "  - {name: ocp5, domain: example.com, nodes: [{name: master0, role: master, ip: 192.168.7.30}]}\nhosts:"},
		"null is not written":             {"http: {port: 8080}", "http: {port: ~, root: }\nftp:"},
	} {
		if _, ds := Load(spoil(t, edits...)); ds != nil {
			t.Errorf("%s:\n%s", name, ds.Error())
		}
	}
}
