package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"helperd/config"
)

// RA is what router advertisements say.
type RA struct {
	// Networks are in the order of the file; none: nothing is sent.
	Networks []Advertisement
}

// Advertisement is what router advertisements say of one IPv6 network. Networks
// of one interface share their advertisements.
type Advertisement struct {
	Prefix    netip.Prefix // on the link; machines make no addresses of their own from it
	Interface string       // empty: the interface that holds an address in Prefix
	// Gateway is the default route of the nodes. The advertisements bring it while
	// this machine holds that address: a route leads to whoever advertises it.
	Gateway netip.Addr
	Managed bool         // addresses and names come by DHCPv6: the flags M and O
	MTU     int          // in bytes; 0: not sent
	DNS     []netip.Addr // RFC 8106
	Search  []string     // RFC 8106
	Routes  []Route      // RFC 4191; each like Gateway, while this machine holds Via
}

// ra derives the advertisements of the networks that want them.
func (b *builder) ra() {
	for i := range b.c.Networks {
		n := &b.c.Networks[i]
		if !n.RA {
			continue
		}
		a := Advertisement{
			Prefix: n.CIDR, Interface: n.Interface, Gateway: n.Gateway, Managed: b.dhcpMode(i) != ModeOff,
			MTU: n.MTU, DNS: n.DNS, Search: b.zonesOn(n.CIDR),
		}
		for _, r := range n.Routes {
			a.Routes = append(a.Routes, Route{r.To, r.Via})
		}
		b.p.RA.Networks = append(b.p.RA.Networks, a)
		b.unadvertised(fmt.Sprintf("networks[%d]", i), n)
	}
}

// unadvertised warns of what advertisements are not sent for, and of what they cannot say.
func (b *builder) unadvertised(at string, n *config.Network) {
	own := b.p.Helper.Address6
	if n.Interface == "" && !n.CIDR.Contains(own) {
		b.say(config.Warning, at+".ra", "network %s: router advertisements do not pass routers, and the helper has no address in this network as far as this file says; "+
			"write helper.address6 in it, or the interface that faces it", n.CIDR)
	}
	for k, r := range n.Routes {
		if r.Via != own {
			b.say(config.Warning, fmt.Sprintf("%s.routes[%d].via", at, k), "network %s: a router advertisement tells of routes through its sender alone; %s is told only while this machine holds %s", n.CIDR, r.To, r.Via)
		}
	}
}

// zonesOn are the zones of the clusters that have a node in p.
func (b *builder) zonesOn(p netip.Prefix) (zones []string) {
	for _, cl := range b.p.Clusters {
		if slices.ContainsFunc(cl.Nodes, func(n *Node) bool { return slices.ContainsFunc(n.Addresses(), p.Contains) }) {
			zones = append(zones, cl.Zone)
		}
	}
	return zones
}

func (r *RA) lines() []string {
	var w writer
	for _, a := range r.Networks {
		w.line("%s", a)
	}
	return w
}

func (a Advertisement) String() string {
	ws := words{"advertise " + a.Prefix.String()}
	ws.add("interface", a.Interface)
	if a.Managed {
		ws = append(ws, "addresses by DHCPv6")
	}
	if a.Gateway.IsValid() {
		ws = append(ws, fmt.Sprintf("default route while this machine holds %s", a.Gateway))
	}
	ws.add("mtu", a.MTU)
	ws.add("dns", list(a.DNS))
	ws.add("search", strings.Join(a.Search, " "))
	for _, r := range a.Routes {
		ws.add("route", r)
	}
	return ws.String()
}
