package nodes

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"helperd/plan"
)

// confirmed are the states of a neighbour whose MAC the kernel uses (neighbour(7), NUD_*).
const confirmed = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT

// neighbours gives who has addr on the networks of this machine, by the kernel's
// table. Who talks to us by TCP is in it, unless a router is between.
func neighbours(addr netip.Addr) ([]plan.MAC, error) {
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	table, err := netlink.NeighList(0, family)
	if err != nil {
		return nil, fmt.Errorf("ask the kernel for its neighbours: %w", err)
	}
	var out []plan.MAC
	for i := range table {
		n := &table[i]
		if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap() == addr && n.State&confirmed != 0 && len(n.HardwareAddr) == len(plan.MAC{}) {
			out = append(out, plan.MAC(n.HardwareAddr))
		}
	}
	return out, nil
}

// neighbours gives who has addr on our networks, as far as that is known.
func (r *Registry) neighbours(addr netip.Addr) []plan.MAC {
	macs, err := r.Neighbours(addr)
	if err != nil {
		r.log.Warn("neighbour table not readable", "err", err)
	}
	return macs
}

// another reports whether the machine at addr is on our networks and has none of n's MACs. Firmware
// and loaders use the card that n's script is named after.
func (r *Registry) another(n *plan.Node, addr netip.Addr) bool {
	return slices.ContainsFunc(r.neighbours(addr.Unmap()), func(m plan.MAC) bool { return !owns(n, m) })
}

func owns(n *plan.Node, m plan.MAC) bool { return slices.Contains(n.MACs, m) }
