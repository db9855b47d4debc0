package dhcp

import (
	"fmt"
	"net"
	"net/netip"

	"helperd/services/dhcp/engine"
)

// iface is a network interface of this machine.
type iface struct {
	name  string
	index int
	addrs []netip.Addr // IPv4
}

func interfaces() ([]iface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []iface
	for _, ifi := range list {
		row := iface{name: ifi.Name, index: ifi.Index}
		addrs, err := ifi.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap().Is4() {
				row.addrs = append(row.addrs, p.Addr().Unmap())
			}
		}
		out = append(out, row)
	}
	return out, nil
}

func localAddrs(list []iface) []netip.Addr {
	var out []netip.Addr
	for _, i := range list {
		out = append(out, i.addrs...)
	}
	return out
}

// find gives the first interface that fits, or nil.
func find(list []iface, fits func(*iface) bool) *iface {
	for i := range list {
		if fits(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

func (i *iface) holds(fits func(netip.Addr) bool) bool {
	for _, a := range i.addrs {
		if fits(a) {
			return true
		}
	}
	return false
}

// place is an interface to be served, with the networks that are on it. A
// place without networks serves relays only.
type place struct {
	device  string
	index   int
	subnets []*engine.Subnet
}

// resolve says where the networks are served, and what is missing.
func resolve(p *engine.Policy, list []iface) (places []place, missing []string) {
	at := func(i *iface) *place {
		for k := range places {
			if places[k].device == i.name {
				return &places[k]
			}
		}
		places = append(places, place{device: i.name, index: i.index})
		return &places[len(places)-1]
	}
	for _, n := range p.Subnets() {
		i := find(list, func(i *iface) bool {
			return n.Interface == i.name || n.Interface == "" && i.holds(n.Prefix.Contains)
		})
		switch {
		case i != nil:
			here := at(i)
			here.subnets = append(here.subnets, n)
			if find(list, func(i *iface) bool { return i.holds(func(a netip.Addr) bool { return a == n.Server }) }) == nil {
				missing = append(missing, fmt.Sprintf("no interface has %s, which machines of network %s are told to renew with and to load from; configure it on %s, or correct helper.address", n.Server, n.Prefix, i.name))
			}
		case n.Interface != "":
			missing = append(missing, fmt.Sprintf("interface %s of network %s is not there; it is served as soon as it comes up", n.Interface, n.Prefix))
		default:
			// Reached by relays, which send to the server's address.
			if i = find(list, func(i *iface) bool { return i.holds(func(a netip.Addr) bool { return a == n.Server }) }); i != nil {
				at(i)
			} else {
				missing = append(missing, fmt.Sprintf("no interface has an address in network %s, and none has %s, which its relays would send to; configure one of them", n.Prefix, n.Server))
			}
		}
	}
	return places, missing
}
