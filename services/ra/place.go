package ra

import (
	"fmt"

	"helperd/internal/netif"
	"helperd/plan"
)

// place is an interface with the networks that are advertised on it.
type place struct {
	*netif.Interface
	networks []*plan.Advertisement
}

// resolve says where the networks are advertised, and what is missing.
func resolve(r *plan.RA, list []netif.Interface) (places []place, missing []string) {
	for k := range r.Networks {
		n := &r.Networks[k]
		i := netif.At(list, n.Interface, n.Prefix)
		switch {
		case i == nil && n.Interface != "":
			missing = append(missing, fmt.Sprintf("interface %s of network %s is not there; it is advertised as soon as it comes", n.Interface, n.Prefix))
		case i == nil:
			missing = append(missing, fmt.Sprintf("no interface has an address in network %s; give one an address in it, or write its interface: router advertisements do not pass routers", n.Prefix))
		case !i.Up:
			missing = append(missing, fmt.Sprintf("interface %s of network %s is down; switch it on: ip link set %s up", i.Name, n.Prefix, i.Name))
		default:
			places = put(places, i, n)
		}
	}
	return places, missing
}

// put adds n to the place that i is.
func put(places []place, i *netif.Interface, n *plan.Advertisement) []place {
	for k := range places {
		if places[k].Interface == i {
			places[k].networks = append(places[k].networks, n)
			return places
		}
	}
	return append(places, place{i, []*plan.Advertisement{n}})
}
