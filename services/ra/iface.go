package ra

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"helperd/plan"
)

// iface is a network interface of this machine.
type iface struct {
	name    string
	index   int
	mac     plan.MAC     // zero: none of Ethernet
	up      bool         // switched on, and of a kind that has neighbours
	carrier bool         // there is somebody at the other end
	addrs   []netip.Addr // IPv6, with link-local ones
}

func interfaces() ([]iface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []iface
	for _, ifi := range list {
		addrs, err := ifi.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		const wanted = net.FlagUp | net.FlagMulticast
		row := iface{name: ifi.Name, index: ifi.Index, up: ifi.Flags&wanted == wanted, carrier: ifi.Flags&net.FlagRunning != 0}
		if len(ifi.HardwareAddr) == len(row.mac) {
			row.mac = plan.MAC(ifi.HardwareAddr)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && !p.Addr().Is4In6() {
				row.addrs = append(row.addrs, p.Addr())
			}
		}
		out = append(out, row)
	}
	return out, nil
}

// holds reports whether a is an address of the interface.
func (i *iface) holds(a netip.Addr) bool { return slices.Contains(i.addrs, a) }

// within reports whether the interface has an address in p.
func (i *iface) within(p netip.Prefix) bool { return slices.ContainsFunc(i.addrs, p.Contains) }

// local are the link-local addresses; one of them is that of the router (RFC 4861 section 6.1.2).
func (i *iface) local() []netip.Addr {
	return slices.DeleteFunc(slices.Clone(i.addrs), func(a netip.Addr) bool { return !a.IsLinkLocalUnicast() })
}

// place is an interface with the networks that are advertised on it.
type place struct {
	*iface
	networks []*plan.Advertisement
}

// resolve says where the networks are advertised, and what is missing.
func resolve(r *plan.RA, list []iface) (places []place, missing []string) {
	for k := range r.Networks {
		n := &r.Networks[k]
		i := slices.IndexFunc(list, func(i iface) bool {
			return n.Interface == i.name || n.Interface == "" && i.within(n.Prefix)
		})
		switch {
		case i < 0 && n.Interface != "":
			missing = append(missing, fmt.Sprintf("interface %s of network %s is not there; it is advertised as soon as it comes", n.Interface, n.Prefix))
		case i < 0:
			missing = append(missing, fmt.Sprintf("no interface has an address in network %s; give one an address in it, or write its interface: router advertisements do not pass routers", n.Prefix))
		case !list[i].up:
			missing = append(missing, fmt.Sprintf("interface %s of network %s is down; switch it on: ip link set %s up", list[i].name, n.Prefix, list[i].name))
		default:
			places = put(places, &list[i], n)
		}
	}
	return places, missing
}

// put adds n to the place that i is.
func put(places []place, i *iface, n *plan.Advertisement) []place {
	for k := range places {
		if places[k].iface == i {
			places[k].networks = append(places[k].networks, n)
			return places
		}
	}
	return append(places, place{i, []*plan.Advertisement{n}})
}
