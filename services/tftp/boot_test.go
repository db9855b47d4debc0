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
	"helperd/services/tftp/packet"
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

// Loaders ask by UUID, which the file does not know: it means the machine that
// DHCP gave the asking address to, and nobody else.
func TestBootFileByUUID(t *testing.T) {
	const uuid = "pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d"
	g := newRig(t, bootPlan)
	n := g.plan.Nodes[0]
	w := g.dial(t)
	w.ask(packet.OpRead, uuid, "octet")
	w.refusal(packet.CodeNotFound)
	g.host.Nodes.Acked(n.MACs[0], n.IP)
	for _, file := range []string{uuid, "pxelinux.cfg/default", "/EFI/redhat/grub.cfg", "grub.cfg-B8945908-D6A6-41A9-611D-74A6AB80B83D"} {
		if text := string(g.get(t, file)); !strings.Contains(text, "worker.ign?token=") {
			t.Errorf("%s, with proof: %s", file, text)
		}
	}
	// PXELINUX that reads its configuration by TFTP may know nothing else.
	if text := string(g.get(t, uuid)); !strings.Contains(text, "KERNEL /artifacts/rhcos/kernel\n") {
		t.Errorf("paths, not URLs, are wanted: %s", text)
	}
	g.write(t, "EFI/redhat/grub.cfg", []byte("my menu"))
	if text := string(g.get(t, "EFI/redhat/grub.cfg")); text != "my menu" {
		t.Errorf("got %q, want the user's own", text)
	}
	w = g.dialFrom(t, "127.0.0.9")
	w.ask(packet.OpRead, uuid, "octet")
	w.refusal(packet.CodeNotFound)
	for _, e := range g.events.Since(0) {
		if e.Kind == timeline.TFTPMiss || e.Kind == timeline.BootRefused {
			t.Errorf("a probe is no news: %+v", e)
		}
	}
}

// A machine that is in no node is told so on its console, and the people by an event.
func TestBootRefused(t *testing.T) {
	g := newRig(t, bootPlan)
	for _, file := range []string{"pxelinux.cfg/01-52-54-00-00-00-99", "/grub/grub.cfg-01-52-54-00-00-00-99", "boot/52-54-00-00-00-99.ipxe"} {
		w := g.dialFrom(t, "127.0.0.9")
		w.ask(packet.OpRead, file, "octet")
		if text := w.refusal(packet.CodeNotFound); !strings.Contains(text, "no node has MAC 52:54:00:00:00:99") {
			t.Errorf("%s: the console shows %q", file, text)
		}
		if e := g.seen(t, timeline.BootRefused, "/"+strings.TrimPrefix(file, "/")); e.MAC.String() != "52:54:00:00:00:99" || e.Detail == "" {
			t.Errorf("event %+v", e)
		}
	}
	if text := string(g.get(t, "pxelinux.cfg/default")); !strings.Contains(text, "LOCALBOOT -1") {
		t.Errorf("default is %s", text)
	}
	g.seen(t, timeline.BootRefused, "/pxelinux.cfg/default")
	// The user may boot other machines by files of their own.
	g.write(t, "pxelinux.cfg/01-52-54-00-00-00-99", []byte("my own"))
	if text := string(g.get(t, "pxelinux.cfg/01-52-54-00-00-00-99")); text != "my own" {
		t.Errorf("got %q, want the user's own", text)
	}
}

// PXELINUX asks below the folder that it was loaded from.
func TestArtifactBelowAnyFolder(t *testing.T) {
	var want []byte
	g := newRig(t, func(p *plan.Plan) {
		bootPlan(p)
		want = []byte("a kernel")
		file := filepath.Join(t.TempDir(), "kernel")
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		p.TFTP.Files = []plan.File{{Path: "/artifacts/rhcos/kernel", File: file}}
	})
	for _, name := range []string{"artifacts/rhcos/kernel", "/artifacts/rhcos/kernel", "pxelinux//artifacts/rhcos/kernel", "a/b/artifacts/rhcos/kernel"} {
		if got := g.get(t, name); string(got) != string(want) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// A person who looks at a boot file decides nothing.
func TestBootFileForStranger(t *testing.T) {
	g := newRig(t, bootPlan)
	g.host.Nodes.Acked(g.plan.Nodes[0].MACs[0], g.plan.Nodes[0].IP)
	w := g.dialFrom(t, "127.0.0.9")
	w.ask(packet.OpRead, "grub.cfg-01-52-54-00-00-00-01", "octet")
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
		w.ask(packet.OpRead, "/"+string(l), "octet", "blksize", "1468", "windowsize", "16")
		w.oack()
		w.ack(0)
		if got := w.fetch(1468, 16, nil); string(got) != string(want) {
			t.Errorf("%s: %d bytes, want %d", l, len(got), len(want))
		}
	}
	problem := g.Status().Problem
	for _, m := range boot.Missing(found) {
		w := g.dial(t)
		w.ask(packet.OpRead, string(m.Loader), "octet")
		if text := w.refusal(packet.CodeNotFound); !strings.Contains(text, m.Debian) || !strings.Contains(text, m.Fedora) {
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
