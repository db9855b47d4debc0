package lb

import (
	"context"
	"net/netip"
	"time"

	"helperd/nodes"
	"helperd/plan"
	"helperd/services/lb/table"
	"helperd/timeline"
)

// newBoot is the silence after which a node's connection is the first one of a new boot.
const newBoot = 15 * time.Minute

// sight is a node at a frontend of its cluster.
type sight struct {
	node     *plan.Node
	addr     netip.Addr
	frontend string
	first    bool // after silence
	evidence bool // of an installed system
}

// accepted is called by the workers for every connection. Only nodes at the API
// and the machine config server say something; what they say is passed on
// without waiting, and lost when nobody keeps up.
func (s *Service) accepted(t *table.Table, f *table.Frontend, client netip.Addr) {
	if !f.API && !f.MachineConfig {
		return
	}
	n := t.Node(client)
	if n == nil {
		return
	}
	now := time.Now()
	x := sight{node: n.Node, addr: client, frontend: f.Config.Name}
	x.first = n.FirstAfter(now, newBoot)
	x.evidence = f.MachineConfig && n.Due(now)
	if !x.first && !x.evidence {
		return
	}
	select {
	case s.sights <- x:
	default:
	}
}

// observe tells the timeline and the registry of nodes what was seen. It runs
// apart from the workers because the registry writes to disk.
func (s *Service) observe(ctx context.Context) error {
	told := map[strayKey]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case x := <-s.strays:
			s.turnedAway(&x, time.Now(), told)
		case x := <-s.sights:
			if x.evidence {
				s.host.Nodes.Seen(x.node, nodes.FirstBoot)
			}
			if x.first {
				s.host.Events.Emit(timeline.Event{Kind: timeline.LBFirst, Node: x.node.FQDN, Addr: x.addr, Detail: x.frontend})
			}
		}
	}
}
