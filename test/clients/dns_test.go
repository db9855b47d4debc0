package clients_test

import (
	"strings"
	"testing"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// dig runs dig against the helper and gives what it prints.
func dig(t *testing.T, m *rig.Machine, args ...string) string {
	t.Helper()
	args = append([]string{"@" + rig.HelperIP, "+time=3", "+tries=2"}, args...)
	return strings.TrimSpace(m.Run(t, "dig", args...))
}

func TestDig(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "dig")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	node, outsider := r.Machine(t, "worker-0"), r.Outsider(t)

	for _, c := range []struct{ name, query, want string }{
		{"api", "api.ocp4.example.com", rig.HelperIP},
		{"api-int", "api-int.ocp4.example.com A", rig.HelperIP},
		{"helper", "helper.ocp4.example.com", rig.HelperIP},
		{"node", "master-2.ocp4.example.com", "192.168.67.13"},
		{"wildcard", "console-openshift-console.apps.ocp4.example.com", rig.HelperIP},
		{"wildcard of two labels", "a.b.apps.ocp4.example.com", rig.HelperIP},
		{"upper case", "API.OCP4.Example.Com", rig.HelperIP},
		{"etcd", "etcd-1.ocp4.example.com", "192.168.67.12"},
		{"no AAAA", "api.ocp4.example.com AAAA", ""},
		{"reverse of a node", "-x 192.168.67.21", "worker-0.ocp4.example.com."},
		{"reverse of the helper", "-x 192.168.67.2", "helper.ocp4.example.com."},
		{"over TCP", "+tcp worker-1.ocp4.example.com", "192.168.67.22"},
		{"forwarded", rig.UpstreamName, rig.UpstreamIP},
		{"forwarded over TCP", "+tcp " + rig.UpstreamName, rig.UpstreamIP},
		{"without EDNS", "+noedns api.ocp4.example.com", rig.HelperIP},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := dig(t, node, append([]string{"+short"}, strings.Fields(c.query)...)...); got != c.want {
				t.Errorf("dig %s: %q, want %q", c.query, got, c.want)
			}
		})
	}

	for _, c := range []struct {
		name  string
		from  *rig.Machine
		query string
		want  []string // in the header
	}{
		{"ours is authoritative", node, "api.ocp4.example.com", []string{"status: NOERROR", " aa"}},
		{"no such name", node, "no-such-node.ocp4.example.com", []string{"status: NXDOMAIN", " aa"}},
		{"no such name over TCP", node, "+tcp no-such-node.ocp4.example.com", []string{"status: NXDOMAIN"}},
		{"no such name upstream", node, "no-such.example.org", []string{"status: NXDOMAIN"}},
		{"no recursion for outsiders", outsider, rig.UpstreamName, []string{"status: REFUSED"}},
		{"no recursion for outsiders over TCP", outsider, "+tcp " + rig.UpstreamName, []string{"status: REFUSED"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := dig(t, c.from, append([]string{"+noall", "+comments"}, strings.Fields(c.query)...)...)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("dig %s has no %q:\n%s", c.query, want, got)
				}
			}
		})
	}

	t.Run("SRV of etcd", func(t *testing.T) {
		got := strings.Split(dig(t, node, "+short", "_etcd-server-ssl._tcp.ocp4.example.com", "SRV"), "\n")
		if len(got) != 3 {
			t.Errorf("SRV of etcd: %q, want three", got)
		}
	})
	t.Run("no zone transfer", func(t *testing.T) {
		// dig's exit code differs between versions; what counts is that no record comes.
		out, _ := node.Exec("dig", "@"+rig.HelperIP, "+time=3", "ocp4.example.com", "AXFR").CombinedOutput()
		if strings.Contains(string(out), "192.168.67.11") {
			t.Errorf("the zone was handed out:\n%s", out)
		}
	})
}
