package nodes

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/state"
	"helperd/timeline"
)

type rig struct {
	*Registry
	now   time.Time
	store *state.Store
	tl    *timeline.Timeline
	node  *plan.Node

	neighbours []plan.MAC // who has every address
	alive      map[*plan.Cluster]bool
	listens    map[netip.AddrPort]bool
}

func newRig(t *testing.T) *rig {
	t.Helper()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	g := &rig{now: time.Unix(1_800_000_000, 0), store: store}
	g.node = &plan.Node{Name: "w0", FQDN: "w0.ocp4.example.com", MACs: []plan.MAC{{1}}, IP: netip.MustParseAddr("10.0.0.21")}
	g.restart(t)
	return g
}

// Apply waits for what clusters answer, too.
func (g *rig) Apply(ctx context.Context, p *plan.Plan) {
	g.Registry.Apply(ctx, p)
	g.asking.Wait()
}

func (g *rig) clock() time.Time { return g.now }

func (g *rig) restart(t *testing.T) {
	t.Helper()
	g.tl = timeline.New(g.clock)
	r, err := New(g.store, g.tl, slog.New(slog.NewTextHandler(io.Discard, nil)), g.clock)
	if err != nil {
		t.Fatal(err)
	}
	r.Neighbours = func(netip.Addr) ([]plan.MAC, error) { return g.neighbours, nil }
	r.lives = func(_ context.Context, cl *plan.Cluster) bool { return g.alive[cl] }
	r.speaks = func(_ context.Context, s netip.AddrPort) bool { return g.listens[s] }
	g.Registry = r
}

func (g *rig) wait(d time.Duration) { g.now = g.now.Add(d) }

// install goes through a whole installation up to the written disk.
func (g *rig) install(t *testing.T) string {
	t.Helper()
	g.Acked(g.node.MACs[0], g.node.IP)
	s := g.Boot(g.node, g.node.IP)
	if s.Disk || s.Token == "" {
		t.Fatalf("script %+v, want an installation with a token", s)
	}
	g.wait(time.Minute)
	g.RootfsFetched(g.node)
	g.IgnitionFetched(g.node)
	if p := g.State(g.node).Phase; p != Written {
		t.Fatalf("phase %s after all was fetched", p)
	}
	g.wait(3 * time.Minute)
	return s.Token
}

func (g *rig) events(k timeline.Kind) (details []string) {
	for _, e := range g.tl.Since(0) {
		if e.Kind == k {
			details = append(details, e.Detail)
		}
	}
	return details
}

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
