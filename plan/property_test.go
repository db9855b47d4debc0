package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"helperd/config"
)

// drawFile makes a valid file with one cluster: at least two workers, so that
// slow start is on whether or not one is added.
func drawFile(t *rapid.T) (text string, nodes int) {
	var s strings.Builder
	six := rapid.Bool().Draw(t, "IPv6")
	bits := rapid.IntRange(16, 24).Draw(t, "prefix length")
	s.WriteString("version: 1\nhelper: {address: 10.64.0.2")
	if six {
		s.WriteString(`, address6: "fd00::2"`)
	}
	fmt.Fprintf(&s, "}\nnetworks:\n  - {cidr: 10.64.0.0/%d, gateway: 10.64.0.1}\n", bits)
	if six {
		s.WriteString(`  - {cidr: "fd00::/64"}` + "\n")
	}
	s.WriteString("artifacts: [{name: a, kernel: {file: /k}, initramfs: {file: /i}, rootfs: {file: /r}}]\n" +
		"clusters:\n  - name: c\n    domain: example.com\n    artifacts: a\n    install_disk: /dev/sda\n    ignition: /ign\n    nodes:\n")
	add := func(name, role string) {
		nodes++
		mac := fmt.Sprintf("52:54:00:00:%02x:%02x", nodes>>8, nodes&255)
		fmt.Fprintf(&s, "      - {name: %s, role: %s, ip: 10.64.0.%d", name, role, nodes+9)
		if six && rapid.Bool().Draw(t, name+" has IPv6") {
			fmt.Fprintf(&s, `, ip6: "fd00::%x"`, nodes+9)
		}
		if rapid.Bool().Draw(t, name+" has a MAC") {
			fmt.Fprintf(&s, ", mac: %q", mac)
		}
		fmt.Fprintf(&s, ", static: %t}\n", rapid.Bool().Draw(t, name+" is static"))
	}
	if rapid.Bool().Draw(t, "bootstrap") {
		add("bootstrap", "bootstrap")
	}
	for i := range rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "masters") {
		add(fmt.Sprintf("m%d", i), "master")
	}
	for i := range rapid.IntRange(2, 20).Draw(t, "workers") {
		add(fmt.Sprintf("w%d", i), "worker")
	}
	return s.String(), nodes
}

func draw(t *rapid.T, text string) *Plan {
	c, ds := config.Load([]byte(text))
	if ds.HasErrors() {
		t.Fatalf("%v\n%s", ds, text)
	}
	p, ds := Compile(c, Facts{Serial: 7})
	if ds.HasErrors() {
		t.Fatalf("%v\n%s", ds, text)
	}
	return p
}

func TestCompileIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, _ := drawFile(t)
		if a, b := draw(t, text).String(), draw(t, text).String(); a != b {
			t.Fatalf("the same file gives\n%s\nand\n%s", a, b)
		}
	})
}

func TestEachNodeAddressHasOnePointer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, _ := drawFile(t)
		p := draw(t, text)
		pointers := map[string][]string{}
		for _, r := range p.DNS.Names {
			if r.Type == "PTR" {
				pointers[r.Name] = append(pointers[r.Name], r.Data)
			}
		}
		for _, n := range p.Nodes {
			for _, a := range n.Addresses() {
				owner, _ := dns.ReverseAddr(a.String())
				if got := pointers[owner]; len(got) != 1 || got[0] != n.FQDN+"." {
					t.Fatalf("%s of %s has pointers %v", a, n.FQDN, got)
				}
			}
		}
	})
}

func TestAddingAWorkerTouchesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, nodes := drawFile(t)
		ip := fmt.Sprintf("10.64.0.%d", nodes+100)
		added := text + fmt.Sprintf("      - {name: added, role: worker, mac: \"52:54:00:00:ff:ff\", ip: %s}\n", ip)
		owner, _ := dns.ReverseAddr(ip)
		d := Diff(draw(t, text), draw(t, added))
		if len(d) == 0 {
			t.Fatal("a new worker changes nothing")
		}
		for _, l := range d {
			mentions := strings.Contains(l, "added") || strings.Contains(l, ip) || strings.Contains(l, owner) || strings.Contains(l, "52:54:00:00:ff:ff")
			if !mentions || !strings.Contains(l, ": + ") {
				t.Fatalf("a new worker changes %q", l)
			}
		}
	})
}
