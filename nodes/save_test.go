package nodes

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"helperd/plan"
	"helperd/state"
)

// Whoever has its script must find its token known after a restart, however many asked at once.
func TestManyAtOnceAreStored(t *testing.T) {
	const count = 200
	g := newRig(t)
	machines := make([]*plan.Node, count)
	tokens := make([]string, count)
	var all sync.WaitGroup
	for i := range machines {
		n := &plan.Node{Name: fmt.Sprint("w", i), FQDN: fmt.Sprintf("w%d.ocp4.example.com", i), MACs: []plan.MAC{{2, byte(i)}}, IP: netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})}
		machines[i] = n
		g.Acked(n.MACs[0], n.IP)
		all.Go(func() {
			tokens[i] = g.Boot(n, n.IP).Token
			stored, err := g.store.Nodes()
			if err != nil || len(stored[n.FQDN]) == 0 {
				t.Errorf("%s has its script and is not stored: %v", n.Name, err)
			}
		})
	}
	all.Wait()
	g.restart(t)
	for i, n := range machines {
		if err := g.Admit(n, n.IP, tokens[i]); err != nil || tokens[i] == "" {
			t.Errorf("%s with token %q: %v", n.Name, tokens[i], err)
		}
		if g.Admit(n, n.IP, "x") == nil {
			t.Errorf("%s: any token serves after a restart", n.Name)
		}
	}
}

// What a failing disk missed is stored with what comes after.
func TestUnstoredIsStoredLater(t *testing.T) {
	g := newRig(t)
	good := g.store
	bad, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Close(); err != nil {
		t.Fatal(err)
	}
	g.Registry.store = bad
	g.Acked(g.node.MACs[0], g.node.IP)
	token := g.Boot(g.node, g.node.IP).Token
	if token == "" {
		t.Fatal("a failing disk stops an installation")
	}
	g.Registry.store = good
	next := &plan.Node{Name: "w1", FQDN: "w1.ocp4.example.com", MACs: []plan.MAC{{2}}, IP: netip.MustParseAddr("10.0.0.22")}
	g.Acked(next.MACs[0], next.IP)
	g.Boot(next, next.IP)
	g.restart(t)
	if err := g.Admit(g.node, g.node.IP, token); err != nil {
		t.Errorf("the node of before is forgotten: %v", err)
	}
	if g.Admit(g.node, g.node.IP, "x") == nil {
		t.Error("any token serves")
	}
}
