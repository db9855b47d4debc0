package cli_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helperd/config"
)

// run runs the command as a process of its own and gives what it wrote and its exit code.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "helperd", args...)
	var out, err bytes.Buffer
	c.Stdout, c.Stderr = &out, &err
	runErr := c.Run()
	var exit *exec.ExitError
	if runErr != nil && !errors.As(runErr, &exit) {
		t.Fatal(runErr)
	}
	return out.String(), err.String(), c.ProcessState.ExitCode()
}

// diagnostic is a line that editors understand: line, column, message.
var diagnostic = regexp.MustCompile(`^(\d+):\d+: (.+)$`)

// TestCheckBadFiles spoils the example in one way a case, as a person or a
// broken disk would. The command must name each mistake with its line, and nothing else.
func TestCheckBadFiles(t *testing.T) {
	example, err := os.ReadFile("../examples/ocp4.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const worker0 = `      - {name: worker-0,  role: worker,    mac: "52:54:00:f4:26:a1", ip: 192.168.67.21}` + "\n"
	for _, c := range []struct {
		name     string
		old, new string   // old is replaced; empty: new is the whole file
		want     []string // LINE part of the message, one an error; nil: any
	}{
		// Not a configuration at all.
		{"empty file", "", "", []string{"1 the file is empty"}},
		{"only comments", "", "# later\n", []string{"1 the file is empty"}},
		{"a shell script", "", "#!/bin/sh\necho hello\n", []string{"2 keys belong"}},
		{"JSON cut off", "", `{"version": 1, "helper": {`, []string{"2 value was expected"}},
		{"HTML", "", "<html>\n<body>no</body>\n", []string{"1 keys belong"}},
		{"random bytes", "", "\x7fELF\x02\x01\x01\x00\x00\x00", []string{"1 control character 0x7f"}},
		{"zero bytes, as after a power failure", "", strings.Repeat("\x00", 4096), []string{"1 control character 0x00"}},
		{"Latin-1", "# A standard", "# Für \xfcben", []string{"2 is not UTF-8"}},
		{"UTF-16", "", "\xff\xfev\x00e\x00r\x00", []string{"1 UTF-16"}},
		{"a list", "", "- version: 1\n", []string{"1 keys belong"}},
		{"two documents", "nfs:\n", "---\nversion: 1\nnfs:\n", []string{"40 second document"}},
		{"too long", "", strings.Repeat("# filler\n", config.MaxSize/9+1), []string{"1 at most 1048576"}},
		{"very deep", "", strings.Repeat("[", 100_000), []string{"1 nested deeper"}},
		{"alias bomb", "", aliasBomb(), nil},
		{"alias to itself", "", "helper: &a\n  <<: *a\n", []string{"1 networks", "1 version", "1 address", "2 merges a mapping into itself"}},
		{"conflict markers", "dns:\n", "<<<<<<< HEAD\ndns:\n", []string{"37 "}},
		// YAML that was typed wrong.
		{"tab", "  name: helper ", "\tname: helper ", []string{"6 a tab indents this line"}},
		{"missing colon", "helper:\n", "helper\n", []string{`6 unexpected ": "`}},
		{"unclosed quote", `mac: "52:54:00:f4:26:a1"`, `mac: "52:54:00:f4:26:a1`, []string{"35 (of what starts in line 34)"}},
		{"unclosed brace", "ip: 192.168.67.22}", "ip: 192.168.67.22", []string{`37 unexpected ": "`}},
		{"unclosed bracket", "[192.168.67.1]", "[192.168.67.1", []string{"40 (of what starts in line 38)"}},
		{"key indented too little", "    gateway:", "   gateway:", []string{"11 indent"}},
		{"unknown anchor", "artifacts: rhcos", "artifacts: *rhcos", []string{"26 unknown anchor"}},
		{"key twice", "    domain: example.com\n", "    domain: example.com\n    domain: example.org\n", []string{"26 written twice"}},
		// Keys.
		{"misspelled key", "gateway:", "gatway:", []string{`11 did you mean "gateway"?`}},
		{"key of the wrong place", "    gateway: 192.168.67.1\n", "    gateway: 192.168.67.1\n    forwarders: [192.168.67.1]\n", []string{"12 unknown key"}},
		{"no version", "version: 1\n", "", []string{`4 "version" is missing`}},
		{"version of the future", "version: 1\n", "version: 7\n", []string{"3 version 7"}},
		{"no address of the helper", "  address: 192.168.67.2         # where nodes reach every service\n", "", []string{`6 "address" is missing`}},
		{"no value", "domain: example.com", "domain:", []string{"25 value is missing"}},
		// Values of a wrong kind.
		{"mapping for a list", "  - cidr:", "    cidr:", []string{"10 list belongs"}},
		{"text for a list", "[192.168.67.1]", "192.168.67.1", []string{"38 list belongs"}},
		{"list for a text", "name: ocp4", "name: [ocp4]", []string{"24 one value"}},
		{"text for true or false", "nfs:\n", "http: {listing: maybe}\nnfs:\n", []string{"40 true"}},
		{"text for a number", "nfs:\n", "http: {port: http}\nnfs:\n", []string{"40 number"}},
		{"port beyond 65535", "nfs:\n", "http: {port: 80800}\nnfs:\n", []string{"40 out of range"}},
		{"MAC too short", "52:54:00:f4:26:a1", "52:54:00:f4:26", []string{"34 MAC"}},
		{"MAC that YAML 1.1 took for a number", `"52:54:00:82:90:00"`, "193277740800", []string{"35 MAC"}},
		{"no IP address", "ip: 192.168.67.22}", "ip: 192.168.67.222.1}", []string{"35 not an IP address"}},
		{"network with host bits", "192.168.67.0/24\n    gateway", "192.168.67.7/24\n    gateway", []string{"10 write the network itself"}},
		{"pool backwards", "192.168.67.100-192.168.67.200", "192.168.67.200-192.168.67.100", []string{"13 ends before it starts"}},
		{"lease in words", "lease: 4h", "lease: 4 hours", []string{"14 time span"}},
		{"unknown role", "role: worker,    mac: \"52:54:00:82", "role: compute,   mac: \"52:54:00:82", []string{"35 not allowed"}},
		{"unknown architecture", "arch: x86_64", "arch: x86", []string{"18 not allowed"}},
		{"relative path", "/srv/rhcos/rhcos-live-kernel-x86_64", "rhcos-live-kernel-x86_64", []string{"19 relative path"}},
		{"URL without checksum", "{file: /srv/rhcos/rhcos-live-rootfs.x86_64.img}", "{url: \"http://m.example.com/rootfs\"}", []string{"21 sha256"}},
		// Facts that contradict each other.
		{"node name twice", "worker-1", "worker-0", []string{"35 already used"}},
		{"MAC twice", "52:54:00:82:90:00", "52:54:00:f4:26:a1", []string{`35 already used by node "worker-0" (line 34)`}},
		{"address twice", "ip: 192.168.67.22}", "ip: 192.168.67.21}", []string{`35 already used by node "worker-0" (line 34)`}},
		{"address of the gateway", "ip: 192.168.67.22}", "ip: 192.168.67.1}", []string{"35 the gateway of"}},
		{"address in no network", "ip: 192.168.67.22}", "ip: 192.168.68.22}", []string{"35 in none of the networks"}},
		{"broadcast address", "ip: 192.168.67.22}", "ip: 192.168.67.255}", []string{"35 broadcast address"}},
		{"gateway outside", "gateway: 192.168.67.1", "gateway: 192.168.68.1", []string{"11 outside of the network"}},
		{"pool over nodes", "192.168.67.100-", "192.168.67.20-", []string{"13 overlaps"}},
		{"unknown artifact", "artifacts: rhcos", "artifacts: rhcos-4", []string{"26 there is no artifact"}},
		{"host name that DNS forbids", "worker-1", "worker_1", []string{"35 no host name"}},
		{"forwarder is the helper", "[192.168.67.1]", "[192.168.67.2]", []string{"38 the helper itself"}},
		{"port used twice", "nfs:\n", "http: {port: 6443}\nnfs:\n", []string{"40 already used by the balancer"}},
		{"export of the whole machine", "/srv/export/registry", "/", []string{"42 whole machine"}},
		{"three mistakes at once", worker0, strings.NewReplacer("worker,", "wroker,", "f4:26:a1", "e7:9d:67", "67.21", "99.21").Replace(worker0), []string{
			`34 did you mean "worker"?`, `34 already used by node "master-0"`, "34 in none of the networks",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text := c.new
			if c.old != "" {
				if n := strings.Count(string(example), c.old); n != 1 {
					t.Fatalf("%q is in the example %d times", c.old, n)
				}
				text = strings.Replace(string(example), c.old, c.new, 1)
			}
			path := filepath.Join(t.TempDir(), "helper.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := run(t, "check", path)
			if code != 3 || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			if strings.Contains(stderr, "goroutine ") || strings.Contains(stderr, "panic") {
				t.Fatalf("a stack trace:\n%s", stderr)
			}
			expectDiagnostics(t, path, stderr, c.want)
		})
	}
}

func expectDiagnostics(t *testing.T, path, stderr string, want []string) {
	t.Helper()
	got := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if want == nil {
		want = make([]string, len(got))
	}
	if len(got) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(got), len(want), stderr)
	}
	for i, line := range got {
		rest, ok := strings.CutPrefix(line, path+":")
		m := diagnostic.FindStringSubmatch(rest)
		if !ok || m == nil {
			t.Errorf("not FILE:line:col: message: %s", line)
			continue
		}
		if at, part, _ := strings.Cut(want[i], " "); at != "" && m[1] != at || !strings.Contains(m[2], part) {
			t.Errorf("got  %s\nwant line %s: ...%s...", rest, at, part)
		}
	}
}

// aliasBomb is a small file that unfolds into ten billion nodes.
func aliasBomb() string {
	s := "clusters: &a [[x,x,x,x,x,x,x,x,x,x]]\n"
	for i, c := range "bcdefghij" {
		s += "x" + string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string("abcdefghij"[i])+",", 10) + "]\n"
	}
	return s
}
