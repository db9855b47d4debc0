package nodes

import (
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

func TestStoryTellsOfFailure(t *testing.T) {
	g := newRig(t)
	g.tl.Apply(&plan.Plan{Nodes: []*plan.Node{g.node}})
	for range 2 {
		g.install(t)
		g.Boot(g.node, g.node.IP)
		g.wait(3 * time.Minute)
	}
	g.Boot(g.node, g.node.IP)
	if h := g.tl.Story(g.node.FQDN).Hint; !strings.Contains(h, "reinstall w0") {
		t.Errorf("hint %q does not say what to do", h)
	}
}

func TestStoriesAfterARestart(t *testing.T) {
	g := newRig(t)
	g.install(t)
	g.restart(t)
	if s := g.tl.Story(g.node.FQDN); s.Stage != timeline.Ignition {
		t.Errorf("stage %s after the disk was written", s.Stage)
	}
	g.Boot(g.node, g.node.IP)
	g.Seen(g.node, "connected to 22623")
	g.restart(t)
	if s := g.tl.Story(g.node.FQDN); s.Stage != timeline.Installed {
		t.Errorf("stage %s of an installed node", s.Stage)
	}
}

// An image that brings its ignition along, such as the agent installer's, asks for none.
func TestInstalledWithoutIgnitionOfOurs(t *testing.T) {
	g := newRig(t)
	g.node.Boot = &plan.Boot{Image: "/artifacts/agent/rootfs"}
	g.Boot(g.node, g.node.IP)
	g.RootfsFetched(g.node)
	g.wait(5 * time.Minute)
	if !g.Boot(g.node, g.node.IP).Disk {
		t.Error("it is installed again at every boot")
	}
}

// Another machine has the name since the last reload, and what the old one did is still told of.
func TestOldGenerationForgetsNothing(t *testing.T) {
	g := newRig(t)
	p := g.cluster()
	g.Apply(t.Context(), p)
	swapped := *g.node
	swapped.MACs = []plan.MAC{{7}}
	g.Apply(t.Context(), &plan.Plan{Clusters: p.Clusters, Nodes: []*plan.Node{p.Nodes[0], &swapped}})
	g.Boot(&swapped, swapped.IP)
	g.RootfsFetched(g.node) // a download that began before
	if ph := g.State(&swapped).Phase; ph != Installing {
		t.Errorf("phase %s", ph)
	}
}

// What DHCP proved is forgotten by a restart, and a loader may ask again after it.
func TestRestartWithinOneBoot(t *testing.T) {
	g := newRig(t)
	g.neighbours = g.node.MACs
	g.Acked(g.node.MACs[0], g.node.IP)
	g.Boot(g.node, g.node.IP)
	g.restart(t)
	g.wait(10 * time.Second)
	s := g.Boot(g.node, g.node.IP)
	if err := g.Admit(g.node, g.node.IP, s.Token); err != nil {
		t.Errorf("refused with what the last script told: %v", err)
	}
}

// A machine without a clock of its own starts in the past, until somebody tells it the time.
func TestClockInThePast(t *testing.T) {
	g := newRig(t)
	g.install(t)
	g.Boot(g.node, g.node.IP)
	g.restart(t)
	g.wait(-time.Hour)
	for range 4 {
		if !g.Peek(g.node).Disk || !g.Boot(g.node, g.node.IP).Disk {
			t.Fatal("a node that was sent to its disk an hour from now is installed again")
		}
		g.wait(time.Minute)
	}
}
