package clients_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
	"helperd/timeline"
)

// gate is a rig whose nodes ask for ignition files.
type gate struct {
	*rig.Rig
	t *testing.T
}

// script fetches a node's boot script and gives the URL of its ignition file, or "" if it is to boot its disk.
func (g gate) script(m *rig.Machine, node rig.Node) string {
	g.t.Helper()
	status, text := curl(g.t, m, g.BootScript(node))
	if status != "200" {
		g.t.Fatalf("boot script of %s: status %s: %s", node.Name, status, text)
	}
	found := regexp.MustCompile(`coreos\.inst\.ignition_url=(\S+)`).FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	return found[1]
}

// asks fetches url and compares the status; a file must be the role's, byte for byte.
func (g gate) asks(m *rig.Machine, url, role, want string) string {
	g.t.Helper()
	status, body := curl(g.t, m, url)
	if status != want {
		g.t.Fatalf("%s: status %s, want %s: %.300s", url, status, want, body)
	}
	if want == "200" {
		file, err := os.ReadFile(g.Ignition(role))
		must(g.t, err)
		if body != string(file) {
			g.t.Errorf("%s: %d bytes that are not the role's file", url, len(body))
		}
	}
	return body
}

// refused waits for the event of a refusal that tells what to do.
func (g gate) refused(addr, remedy string) {
	g.t.Helper()
	g.AwaitEvent(g.t, "ignition.refused of "+addr+" that says "+remedy, 5*time.Second, func(e *timeline.Event) bool {
		return e.Kind == timeline.IgnitionRefused && e.Addr.String() == addr && strings.Contains(e.Detail, remedy)
	})
}

func ignitionOf(role string) string { return rig.URL("/ignition/ocp4.example.com/" + role + ".ign") }

// The neighbour table tells nodes that never asked our DHCP from machines that took their address.
func TestGateByNeighbourTable(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl")
	g := gate{rig.New(t, rig.Options{}), t}
	g.Start(t)
	node := g.Machine(t, "worker-0")
	g.asks(node, ignitionOf("worker"), "worker", "503") // it has asked for no script
	g.refused("192.168.67.21", "boot it from the network")
	url := g.script(node, node.Node)
	if strings.Contains(url, "token=") {
		t.Errorf("a token for an address that DHCP did not give: %s", url)
	}
	g.asks(node, ignitionOf("master"), "master", "403")
	g.refused("192.168.67.21", "goes to role master alone")
	g.asks(node, url, "worker", "200")

	thief := g.Neighbour(t, "52:54:00:cc:00:01", "192.168.67.22") // the address of worker-1
	url = g.script(thief, g.Node(t, "worker-1"))
	body := g.asks(thief, url, "worker", "503")
	if !strings.Contains(body, "52:54:00:cc:00:01") {
		t.Errorf("the refusal does not name the machine: %s", body)
	}
	g.refused("192.168.67.22", "helperd nodes arm worker-1")

	outsider := g.Outsider(t)
	for _, forged := range []string{"X-Forwarded-For: 192.168.67.21", "Forwarded: for=192.168.67.21", "Host: 192.168.67.21"} {
		if status, _ := curl(t, outsider, "-H", forged, ignitionOf("worker")); status != "403" {
			t.Errorf("with %q an outsider gets status %s", forged, status)
		}
	}
	g.refused("10.99.0.5", "address of no node")
}

// remote is a rig with a network behind the router, 10.8.0.0/24, whose relay
// brings its DHCP to the helper, and worker-0 and worker-1 in it.
func remote(t *testing.T, dhcp string) gate {
	t.Helper()
	netns.Tools(t, "curl", "busybox")
	return gate{rig.New(t, rig.Options{Edit: func(text string) string {
		text = strings.NewReplacer("192.168.67.21}", "10.8.0.21}", "192.168.67.22}", "10.8.0.22}").Replace(text)
		return strings.Replace(text, "\nartifacts:", "\n  - {cidr: 10.8.0.0/24, gateway: 10.8.0.1, dhcp: {mode: "+dhcp+"}}\n\nartifacts:", 1)
	}}), t}
}

// Through a relay the client's hardware address counts, not the relay's.
func TestGateThroughARelay(t *testing.T) {
	netns.Require(t)
	g := remote(t, "server")
	g.Start(t)
	m, other := g.Blank(t, "worker-0"), g.Blank(t, "worker-1")
	want(t, udhcpc(t, m), map[string]string{"ip": "10.8.0.21"})
	m.IP(t, "route", "add", "default", "via", "10.8.0.1")
	url := g.script(m, m.Node)
	if !strings.Contains(url, "token=") {
		t.Fatalf("no token through a relay: %s", url)
	}
	other.Up(t, rig.Dev, "10.8.0.22/24")
	other.IP(t, "route", "add", "default", "via", "10.8.0.1")
	if url := g.script(other, m.Node); strings.Contains(url, "token=") {
		t.Error("another node gets the token")
	}
	g.asks(other, url, "worker", "503") // a node of the role, which nobody proves
	bare, _, _ := strings.Cut(url, "?")
	g.asks(m, bare, "worker", "403")
	g.asks(m, url, "worker", "200")
}

// Behind a router, and with an address that is not of our DHCP, a person vouches for a node.
func TestGateThatIsArmed(t *testing.T) {
	netns.Require(t)
	g := remote(t, "off")
	g.Start(t)
	warned := false
	for _, w := range g.Status(t).Configuration.Warnings {
		warned = warned || strings.Contains(w, "helperd nodes arm worker-0")
	}
	if !warned {
		t.Errorf("nobody says that worker-0 is to be armed: %q", g.Status(t).Configuration.Warnings)
	}
	m := g.Blank(t, "worker-0")
	m.Up(t, rig.Dev, "10.8.0.21/24")
	m.IP(t, "route", "add", "default", "via", "10.8.0.1")
	url := g.script(m, m.Node)
	g.asks(m, url, "worker", "503")
	g.refused("10.8.0.21", "helperd nodes arm worker-0")
	g.Order(t, "nodes", "arm", "worker-0")
	g.Stop(t)
	g.Start(t) // it is kept
	g.asks(m, url, "worker", "200")
	g.AwaitEvent(t, "ignition.served", 5*time.Second, func(e *timeline.Event) bool { return e.Kind == timeline.IgnitionServed })
}

// A helper that starts without its state beside a cluster that lives installs nothing.
func TestStateIsLost(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl")
	g := gate{rig.New(t, rig.Options{}), t}
	g.Start(t)
	worker := g.Machine(t, "worker-0")
	if g.script(worker, worker.Node) == "" {
		t.Fatal("a new cluster is not installed")
	}
	g.Machine(t, "master-0").Serve(t)
	g.Stop(t)
	must(t, os.Remove(filepath.Join(g.State, "helperd.db")))
	g.Start(t)
	if g.script(worker, worker.Node) != "" {
		t.Fatal("a node of a living cluster is installed again")
	}
	g.AwaitEvent(t, "boot.refused with the remedy", 5*time.Second, func(e *timeline.Event) bool {
		return e.Kind == timeline.BootRefused && strings.Contains(e.Detail, "helperd nodes reinstall worker-0")
	})
	g.Stop(t)
	g.Start(t)
	if g.script(worker, worker.Node) != "" {
		t.Fatal("after another restart it is installed again")
	}
	g.Order(t, "nodes", "reinstall", "worker-0")
	if g.script(worker, worker.Node) == "" {
		t.Error("reinstall did not arm it")
	}
}

// A node that is taken out of the file is given nothing, and is what it was when it comes back.
func TestRemovedNode(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl", "busybox")
	g := gate{rig.New(t, rig.Options{}), t}
	g.Start(t)
	m := g.Blank(t, "worker-0")
	udhcpc(t, m)
	url := g.script(m, m.Node)
	var line string
	g.Apply(t, func(text string) string {
		line = regexp.MustCompile(`(?m)^.*name: worker-0.*\n`).FindString(text)
		return strings.Replace(text, line, "", 1)
	})
	if status, body := curl(t, m, g.BootScript(m.Node)); status != "404" {
		t.Errorf("its boot script: status %s: %s", status, body)
	}
	g.asks(m, url, "worker", "403")
	g.asks(m, rig.URL("/ignition/ocp4.example.com/worker-0.ign"), "worker", "404")
	at := g.Events(t)
	lease := udhcpc(t, m)
	if lease["boot_file"] != "" || lease["ip"] == m.Node.IP {
		t.Errorf("DHCP gives it %v", lease)
	}
	for _, e := range g.Events(t)[len(at):] {
		if e.Kind == timeline.BootScript {
			t.Errorf("event %+v", e)
		}
	}
	g.Apply(t, func(text string) string {
		return strings.Replace(text, "    nodes:\n", "    nodes:\n"+line, 1)
	})
	udhcpc(t, m)
	g.asks(m, url, "worker", "200")
}
