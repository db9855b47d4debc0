package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whoever neither our DHCP nor the neighbour table can prove needs a person.
func TestUnproven(t *testing.T) {
	const far = "gateway: 192.168.7.1}, {cidr: 10.9.0.0/24, gateway: 10.9.0.1"
	tests := []struct {
		name, network, node, why string
		open                     bool
	}{
		{"our DHCP", "gateway: 192.168.7.1", `mac: "52:54:00:00:00:03", ip: 192.168.7.21`, "", false},
		{"a foreign DHCP server, and a neighbour", "gateway: 192.168.7.1, dhcp: {mode: proxy}", `mac: "52:54:00:00:00:03", ip: 192.168.7.21`, "", false},
		{"a neighbour by IPv6", "gateway: 192.168.7.1}, {cidr: \"fd00:7::/64\", interface: eth1", `mac: "52:54:00:00:00:03", ip6: "fd00:7::21"`, "", false},
		{"IPv6 behind a relay", "gateway: 192.168.7.1}, {cidr: \"fd00:7::/64\"", `mac: "52:54:00:00:00:03", ip6: "fd00:7::21"`, "", false},
		{"IPv6 behind a router", "gateway: 192.168.7.1}, {cidr: \"fd00:7::/64\", dhcp: {mode: off}", `mac: "52:54:00:00:00:03", ip6: "fd00:7::21"`, "dhcp mode is off", false},
		{"behind a relay", far, `mac: "52:54:00:00:00:03", ip: 10.9.0.21`, "", false},
		{"behind a router", far + ", dhcp: {mode: off}", `mac: "52:54:00:00:00:03", ip: 10.9.0.21`, "dhcp mode is off", false},
		{"behind a router, on an interface of ours", far + ", interface: eth1, dhcp: {mode: off}", `mac: "52:54:00:00:00:03", ip: 10.9.0.21`, "", false},
		{"no MAC", "gateway: 192.168.7.1", `ip: 192.168.7.21`, "it has no mac", false},
		{"no MAC, and no gate", "gateway: 192.168.7.1", `ip: 192.168.7.21`, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			yaml := strings.NewReplacer("gateway: 192.168.7.1", tt.network, `mac: "52:54:00:00:00:03", ip: 192.168.7.21`, tt.node).Replace(small)
			if tt.open {
				yaml = strings.Replace(yaml, "    ignition:", "    ignition_gate: open\n    ignition:", 1)
			}
			_, ds := compile(t, []byte(yaml))
			said := ""
			for _, d := range ds {
				if strings.Contains(d.Message, "helperd nodes arm w0") {
					said = d.Message
				}
			}
			if (said != "") != (tt.why != "") || !strings.Contains(said, tt.why) {
				t.Errorf("said %q, want %q", said, tt.why)
			}
		})
	}
}

// Who may fetch every file of a folder needs no gate.
func TestIgnitionInARootIsRefused(t *testing.T) {
	for root, bad := range map[string]bool{
		"http: {root: /srv}": true, "tftp: {root: /srv/ignition}": true, "http: {root: /srv/ignition/}": true, "http: {root: /}": true,
		"http: {root: /srv/ign}": false, "http: {root: /srv/ignition/www}": false,
	} {
		_, ds := compile(t, []byte(small+root+"\n"))
		if ds.HasErrors() != bad {
			t.Errorf("%s: %v", root, ds)
		}
	}
}

func TestOwnFile(t *testing.T) {
	g := &Ignition{File: "/srv/ignition/worker.ign", Role: Worker}
	for name, want := range map[string]string{"w0": "/srv/ignition/w0.ign", "master": "", "worker": ""} {
		if got := g.Own(&Node{Name: name}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A network of its own is written for NetworkManager as it is told to dracut.
func TestKeyfiles(t *testing.T) {
	const ipv4 = `
[ipv4]
method=manual
address1=192.168.7.21/24,192.168.7.1
dns-search=ocp4.example.com;
dns=192.168.7.2;
`
	tests := []struct {
		name, network, node string
		want                map[string]string
	}{
		{"DHCP", "", "", nil},
		{"by MAC", "", "static: true, ", map[string]string{
			"ethernet": "[connection]\nid=ethernet\ntype=ethernet\n\n[ethernet]\nmac-address=52:54:00:00:00:03\n" + ipv4,
		}},
		{"by name", ", mtu: 9000", "static: true, nic: enp1s0, ", map[string]string{
			"enp1s0": "[connection]\nid=enp1s0\ntype=ethernet\ninterface-name=enp1s0\n\n[ethernet]\nmtu=9000\n" + ipv4,
		}},
		{"with a route", ", routes: [{to: 10.0.0.0/8, via: 192.168.7.5}]", "static: true, nic: enp1s0, ", map[string]string{
			"enp1s0": "[connection]\nid=enp1s0\ntype=ethernet\ninterface-name=enp1s0\n" + ipv4 + "route1=10.0.0.0/8,192.168.7.5\n",
		}},
		{"a bond with a VLAN", "", `static: true, bond: "bond0:em1,em2:mode=active-backup,arp_ip_target=192.168.7.1;192.168.7.2", vlan: "bond0.0100:bond0", `, map[string]string{
			"bond0": "[connection]\nid=bond0\ntype=bond\ninterface-name=bond0\n\n[bond]\nmode=active-backup\narp_ip_target=192.168.7.1,192.168.7.2\n" +
				"\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n",
			"em1":        "[connection]\nid=em1\ntype=ethernet\ninterface-name=em1\nmaster=bond0\nslave-type=bond\n",
			"em2":        "[connection]\nid=em2\ntype=ethernet\ninterface-name=em2\nmaster=bond0\nslave-type=bond\n",
			"bond0.0100": "[connection]\nid=bond0.0100\ntype=vlan\ninterface-name=bond0.0100\n\n[vlan]\nparent=bond0\nid=100\nflags=1\n" + ipv4,
		}},
		{"a VLAN on a card", "", `static: true, vlan: "vlan7:em1", `, map[string]string{
			"em1":   "[connection]\nid=em1\ntype=ethernet\ninterface-name=em1\n\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n",
			"vlan7": "[connection]\nid=vlan7\ntype=vlan\ninterface-name=vlan7\n\n[vlan]\nparent=em1\nid=7\nflags=1\n" + ipv4,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := compile(t, []byte(strings.NewReplacer("gateway: 192.168.7.1", "gateway: 192.168.7.1"+tt.network, "name: w0, ", "name: w0, "+tt.node).Replace(small)))
			var got map[string]string
			for i := range p.HTTP.Ignition {
				if g := &p.HTTP.Ignition[i]; g.Node != nil && g.Node.Name == "w0" {
					for _, k := range g.Keyfiles {
						if got == nil {
							got = map[string]string{}
						}
						got[k.Name] = k.Content
					}
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
