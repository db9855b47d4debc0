package tftp

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helperd/boot"
	"helperd/nodes"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

// bootPlan gives the machine at 127.0.0.1 a node to be.
func bootPlan(p *plan.Plan) {
	cl := &plan.Cluster{Name: "ocp4", Zone: "ocp4.example.com"}
	n := &plan.Node{
		Name: "w0", FQDN: "w0.ocp4.example.com", Cluster: cl, Role: plan.Worker, Arch: "x86_64",
		MACs: []plan.MAC{{0x52, 0x54, 0, 0, 0, 1}}, IP: netip.MustParseAddr("127.0.0.1"),
		Boot: &plan.Boot{
			Artifact: "rhcos", Kernel: "/artifacts/rhcos/kernel", Initramfs: "/artifacts/rhcos/initramfs",
			Args:     []string{"coreos.inst.ignition_url=http://127.0.0.1:8080/ignition/ocp4.example.com/worker.ign"},
			Ignition: "http://127.0.0.1:8080/ignition/ocp4.example.com/worker.ign", BaseURL: "http://127.0.0.1:8080",
		},
	}
	cl.Nodes = []*plan.Node{n}
	p.Clusters, p.Nodes = []*plan.Cluster{cl}, cl.Nodes
}

func TestBootFiles(t *testing.T) {
	g := newRig(t, bootPlan)
	n := g.plan.Nodes[0]
	for _, file := range []string{
		"grub.cfg-01-52-54-00-00-00-01", "/boot/grub/grub.cfg-01-52-54-00-00-00-01", "pxelinux.cfg/01-52-54-00-00-00-01",
		`\pxelinux.cfg\7F000001`, "boot/52-54-00-00-00-01.ipxe",
	} {
		if text := string(g.get(t, file)); !strings.Contains(text, "/artifacts/rhcos/kernel") || strings.Contains(text, "token=") {
			t.Errorf("%s, without proof: %s", file, text)
		}
	}
	g.host.Nodes.Acked(n.MACs[0], n.IP)
	if text := string(g.get(t, "grub.cfg-01-52-54-00-00-00-01")); !strings.Contains(text, "worker.ign?token=") {
		t.Errorf("with proof: %s", text)
	}
	if e := g.seen(t, timeline.TFTPGet, "/grub.cfg-01-52-54-00-00-00-01"); e.Node != n.FQDN {
		t.Errorf("event %+v", e)
	}
	g.host.Nodes.RootfsFetched(n)
	g.host.Nodes.IgnitionFetched(n)
	if s := g.host.Nodes.State(n); s.Phase != nodes.Written {
		t.Fatalf("phase %s", s.Phase)
	}
	if s := g.events.Story(n.FQDN); s.Stage != timeline.Loader {
		t.Errorf("stage %s, want %s", s.Stage, timeline.Loader)
	}
}

// A person who looks at a boot file decides nothing.
func TestBootFileForStranger(t *testing.T) {
	g := newRig(t, bootPlan)
	g.host.Nodes.Acked(g.plan.Nodes[0].MACs[0], g.plan.Nodes[0].IP)
	w := g.dialFrom(t, "127.0.0.9")
	w.ask(opRead, "grub.cfg-01-52-54-00-00-00-01", "octet")
	if text := string(w.fetch(512, 1, nil)); strings.Contains(text, "token=") {
		t.Errorf("a stranger got a token: %s", text)
	}
	if s := g.host.Nodes.State(g.plan.Nodes[0]); s.Phase != nodes.Armed {
		t.Errorf("phase %s, want %s", s.Phase, nodes.Armed)
	}
}

func TestLoaders(t *testing.T) {
	g := newRig(t, func(p *plan.Plan) {
		bootPlan(p)
		p.DHCP.Reservations = []plan.Reservation{{Node: p.Nodes[0].FQDN, Boot: &plan.BootFiles{TFTP: map[uint16]string{}}}}
	})
	found := boot.FindLoaders()
	for l, path := range found {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w := g.dial(t)
		w.ask(opRead, "/"+string(l), "octet", "blksize", "1468", "windowsize", "16")
		w.oack()
		w.ack(0)
		if got := w.fetch(1468, 16, nil); string(got) != string(want) {
			t.Errorf("%s: %d bytes, want %d", l, len(got), len(want))
		}
	}
	problem := g.Status().Problem
	for _, m := range boot.Missing(found) {
		w := g.dial(t)
		w.ask(opRead, string(m.Loader), "octet")
		if text := w.refusal(codeNotFound); !strings.Contains(text, m.Debian) || !strings.Contains(text, m.Fedora) {
			t.Errorf("%s: %q names no package", m.Loader, text)
		}
		if e := g.seen(t, timeline.TFTPMiss, "/"+string(m.Loader)); !strings.Contains(e.Detail, m.Fedora) {
			t.Errorf("event %+v", e)
		}
		if m.Loader == plan.Undionly && !strings.Contains(problem, m.Debian) {
			t.Errorf("status says %q and not %s", problem, m)
		}
	}
	if text := string(g.get(t, "grub.cfg")); !strings.Contains(text, "net_default_mac") {
		t.Errorf("the dispatcher is %s", text)
	}
	g.write(t, "fedora/grub.cfg", []byte("my menu"))
	if text := string(g.get(t, "fedora/grub.cfg")); text != "my menu" {
		t.Errorf("got %q, want the user's own", text)
	}
	// The user's own comes first.
	own := filepath.Join(g.plan.TFTP.Root, string(plan.Undionly))
	if err := os.WriteFile(own, []byte("my own"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := g.get(t, string(plan.Undionly)); string(got) != "my own" {
		t.Errorf("got %d bytes, want the user's own", len(got))
	}
	if s := g.Status(); s.State == services.Disabled {
		t.Errorf("status %+v", s)
	}
}
