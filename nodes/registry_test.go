package nodes

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

func TestInstalledOnceThenDisk(t *testing.T) {
	g := newRig(t)
	g.install(t)
	if s := g.Boot(g.node, g.node.IP); !s.Disk {
		t.Fatalf("after a complete fetch: %+v, want its disk", s)
	}
	g.wait(2 * time.Minute)
	g.Seen(g.node, "connected to 22623")
	g.restart(t) // it must survive
	for range 3 {
		g.wait(time.Minute)
		if s := g.Boot(g.node, g.node.IP); !s.Disk {
			t.Fatalf("an installed node gets %+v", s)
		}
	}
	if got := g.State(g.node); got.Phase != Installed || got.Evidence != "connected to 22623" {
		t.Errorf("state %+v", got)
	}
}

func TestFailedInstallIsRetriedOnce(t *testing.T) {
	g := newRig(t)
	g.install(t)
	if !g.Boot(g.node, g.node.IP).Disk {
		t.Fatal("want its disk")
	}
	g.wait(3 * time.Minute)
	g.install(t) // the second network boot without evidence installs again
	if n := len(g.events(timeline.BootFailed)); n != 1 {
		t.Fatalf("%d boot.failed events", n)
	}
	if !g.Boot(g.node, g.node.IP).Disk {
		t.Fatal("want its disk again")
	}
	g.wait(3 * time.Minute)
	if !g.Boot(g.node, g.node.IP).Disk {
		t.Error("it was installed a third time")
	}
	if ev := g.events(timeline.BootFailed); len(ev) != 2 || !strings.Contains(ev[1], "reinstall w0") {
		t.Errorf("events %q do not say what to do", ev)
	}
}

func TestLateNetworkBootGoesToDisk(t *testing.T) {
	g := newRig(t)
	g.install(t)
	g.Boot(g.node, g.node.IP)
	g.wait(16 * time.Minute)
	if !g.Boot(g.node, g.node.IP).Disk {
		t.Error("a network boot long after the installation installed again")
	}
}

func TestBrokenInstallStartsAgain(t *testing.T) {
	g := newRig(t)
	g.Acked(g.node.MACs[0], g.node.IP)
	first := g.Boot(g.node, g.node.IP)
	g.RootfsFetched(g.node)
	g.wait(time.Minute)
	second := g.Boot(g.node, g.node.IP)
	if second.Disk || second.Token == first.Token {
		t.Errorf("after a broken installation: %+v, first token %s", second, first.Token)
	}
	g.IgnitionFetched(g.node)
	if p := g.State(g.node).Phase; p != Installing {
		t.Errorf("phase %s: the rootfs of the broken attempt counted", p)
	}
}

func TestOneBootAsksManyTimes(t *testing.T) {
	g := newRig(t)
	g.Acked(g.node.MACs[0], g.node.IP)
	first := g.Boot(g.node, g.node.IP)
	for range 5 {
		g.wait(2 * time.Second)
		if s := g.Boot(g.node, g.node.IP); s != first {
			t.Fatalf("asked again in one boot: %+v, first %+v", s, first)
		}
	}
	if n := len(g.events(timeline.BootScript)); n != 1 {
		t.Errorf("%d boot.script events", n)
	}
}

// A machine that is seen within seconds of its installation and boots again must not install again.
func TestDecisionIsMadeAnewWhenThePhaseChanged(t *testing.T) {
	g := newRig(t)
	g.Acked(g.node.MACs[0], g.node.IP)
	g.Boot(g.node, g.node.IP)
	g.RootfsFetched(g.node)
	g.IgnitionFetched(g.node)
	g.Seen(g.node, "connected to 22623")
	g.wait(time.Second)
	if !g.Boot(g.node, g.node.IP).Disk {
		t.Error("an installed node was installed again")
	}
}

// Nodes with a static address, or one of another DHCP server, prove nothing and get no token: they must not be asked for one.
func TestNodeWithoutAProofNeedsNoToken(t *testing.T) {
	g := newRig(t)
	if s := g.Boot(g.node, g.node.IP); s.Disk || s.Token != "" {
		t.Fatalf("script %+v, want an installation without a token", s)
	}
	g.neighbours = g.node.MACs
	if err := g.Admit(g.node, g.node.IP, ""); err != nil {
		t.Errorf("its ignition is refused: %v", err)
	}
}

// A machine that took the place and the name of an installed one has nothing on its disk.
func TestReplacedMachineIsInstalled(t *testing.T) {
	g := newRig(t)
	g.install(t)
	g.Boot(g.node, g.node.IP)
	g.Seen(g.node, "connected to 22623")
	g.restart(t)
	second := *g.node
	second.MACs = []plan.MAC{g.node.MACs[0], {2}} // one more card is the same machine
	if p := g.State(&second).Phase; p != Installed {
		t.Errorf("phase %s after a card was added", p)
	}
	other := *g.node
	other.MACs = []plan.MAC{{9}}
	if g.Boot(&other, g.node.IP).Disk {
		t.Error("the new machine is sent to its empty disk")
	}
}

func TestTokenOnlyForTheProvenAddress(t *testing.T) {
	g := newRig(t)
	if s := g.Boot(g.node, g.node.IP); s.Token != "" {
		t.Error("a token without a DHCP answer")
	}
	g.Acked(g.node.MACs[0], g.node.IP)
	if s := g.Boot(g.node, netip.MustParseAddr("10.0.0.66")); s.Token != "" {
		t.Error("a token for another address")
	}
	if s := g.Boot(g.node, g.node.IP); s.Token == "" {
		t.Error("no token for the proven address")
	}
	g.wait(20 * time.Minute)
	if s := g.Boot(g.node, g.node.IP); s.Token != "" {
		t.Error("a token 20 minutes after the DHCP answer")
	}
}

func TestTokenServesUntilTenMinutesAfterTheFetch(t *testing.T) {
	g := newRig(t)
	token := g.install(t)
	if err := g.Admit(g.node, g.node.IP, "wrong"); err == nil {
		t.Error("a wrong token serves")
	}
	if err := g.Admit(g.node, g.node.IP, token); err != nil {
		t.Errorf("3 minutes after the fetch: %v", err)
	}
	g.wait(10 * time.Minute)
	if err := g.Admit(g.node, g.node.IP, token); err == nil {
		t.Error("13 minutes after the fetch the token still serves")
	}
}

func TestEvidenceWithoutStateProtectsARunningCluster(t *testing.T) {
	g := newRig(t)
	g.Seen(g.node, "its 6443 answers")
	if !g.Boot(g.node, g.node.IP).Disk {
		t.Error("a running node was installed again after the state was lost")
	}
	g.Reinstall(g.node)
	if g.Boot(g.node, g.node.IP).Disk {
		t.Error("reinstall did not arm it")
	}
}

func TestEvidenceOfTheInstallerDoesNotCount(t *testing.T) {
	g := newRig(t)
	g.Boot(g.node, g.node.IP)
	g.Seen(g.node, "connected to 22623")
	if p := g.State(g.node).Phase; p != Installing {
		t.Errorf("phase %s", p)
	}
}

func TestTokenIsNotShown(t *testing.T) {
	g := newRig(t)
	token := g.install(t)
	if s := g.State(g.node); s.Token != "" {
		t.Error("State shows the token")
	}
	if slices.ContainsFunc(g.tl.Since(0), func(e timeline.Event) bool { return strings.Contains(e.Detail, token) }) {
		t.Error("an event shows the token")
	}
}

// The old system runs on until the node is switched off: that it answers must not undo the order.
func TestEvidenceDoesNotUndoReinstall(t *testing.T) {
	g := newRig(t)
	g.Seen(g.node, "its 6443 answers")
	g.Reinstall(g.node)
	g.restart(t) // after a restart the balancer finds its servers up
	g.Seen(g.node, "its 6443 answers")
	if p := g.State(g.node).Phase; p != Armed {
		t.Fatalf("phase %s after `nodes reinstall`", p)
	}
	g.install(t)
	g.Boot(g.node, g.node.IP)
	g.Seen(g.node, "connected to 22623")
	if p := g.State(g.node).Phase; p != Installed {
		t.Errorf("phase %s: evidence of the new system did not count", p)
	}
}

// A node that was installed past us, as from a USB stick after a network boot
// broke off, must not be wiped at its next network boot.
func TestLateEvidenceCountsWhileInstalling(t *testing.T) {
	g := newRig(t)
	g.Boot(g.node, g.node.IP)
	g.wait(failedWithin)
	g.Seen(g.node, "connected to 22623")
	if p := g.State(g.node).Phase; p != Installed {
		t.Fatalf("phase %s", p)
	}
	g.wait(24 * time.Hour)
	if !g.Boot(g.node, g.node.IP).Disk {
		t.Error("a running node was installed again")
	}
}

// A virtual machine whose disk does not boot is back within seconds, again and again.
func TestFailedInstallOfAFastMachine(t *testing.T) {
	g := newRig(t)
	g.install(t)
	again := false
	for range 20 {
		again = again || !g.Boot(g.node, g.node.IP).Disk
		g.wait(10 * time.Second)
	}
	if !again || len(g.events(timeline.BootFailed)) != 1 {
		t.Errorf("installed again: %v, events %q", again, g.events(timeline.BootFailed))
	}
}

// DHCP answers while a node's state is being written to a slow disk.
func TestAckedDoesNotWaitForTheDisk(t *testing.T) {
	g := newRig(t)
	g.mu.Lock() // as save does
	done := make(chan bool)
	go func() {
		g.Acked(g.node.MACs[0], g.node.IP)
		done <- g.Proven(g.node, g.node.IP)
	}()
	select {
	case ok := <-done:
		if !ok {
			t.Error("not proven")
		}
	case <-time.After(5 * time.Second):
		t.Error("the DHCP server waits for a write of another node's state")
	}
	g.mu.Unlock()
}
