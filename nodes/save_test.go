package nodes

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"helperd/plan"
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
