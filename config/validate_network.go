package config

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
)

func (v *validator) networks() {
	v.overlaps()
	for i, n := range v.c.Networks {
		if n.CIDR.IsValid() {
			v.network(index("networks", i), n)
		}
	}
}

// overlaps finds networks that share addresses. Sorted by their first address,
// a network can only overlap the last one that did not lie in another.
func (v *validator) overlaps() {
	order := make([]int, 0, len(v.c.Networks))
	for i, n := range v.c.Networks {
		if n.CIDR.IsValid() {
			order = append(order, i)
		}
	}
	cidr := func(i int) netip.Prefix { return v.c.Networks[i].CIDR }
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cidr(a).Addr().Compare(cidr(b).Addr()), cmp.Compare(cidr(a).Bits(), cidr(b).Bits()))
	})
	outer := 0
	for k := 1; k < len(order); k++ {
		if !cidr(order[outer]).Overlaps(cidr(order[k])) {
			outer = k
			continue
		}
		early, late := min(order[outer], order[k]), max(order[outer], order[k])
		v.errorf(index("networks", late)+".cidr", "network %s overlaps network %s (line %d); give each its own addresses",
			cidr(late), cidr(early), v.line(index("networks", early)+".cidr"))
	}
}

func (v *validator) network(p string, n Network) {
	who := "network " + n.CIDR.String()
	six := n.CIDR.Addr().Is6()
	v.gateway(p, who, n)
	for i, a := range n.NTP {
		v.server(index(p+".ntp", i), who, a, six)
	}
	for i, a := range n.DNS {
		v.server(index(p+".dns", i), who, a, six)
	}
	for i, r := range n.Routes {
		v.route(index(p+".routes", i), who, n, r)
	}
	if six && n.MTU != 0 && n.MTU < 1280 {
		v.errorf(p+".mtu", "%s: IPv6 needs an MTU of at least 1280 (RFC 8200 section 5), not %d", who, n.MTU)
	}
	if n.RA && !six {
		v.errorf(p+".ra", "%s: router advertisements are of IPv6; remove ra", who)
	}
	if time.Duration(n.DHCP.Lease)/time.Second > math.MaxUint32 {
		v.errorf(p+".dhcp.lease", "%s: DHCP cannot say a lease this long; write such as 24h", who)
	}
	if bad := printable(n.Interface); bad != "" {
		v.errorf(p+".interface", "%s: %q is no name of an interface; write such as eth0", who, clip(n.Interface))
	}
}

// server checks an address that DHCP hands out.
func (v *validator) server(p, who string, a netip.Addr, six bool) {
	if a.IsValid() && a.Is6() != six {
		v.errorf(p, "%s: %s is of the other IP version; write an address that the nodes of this network can use", who, a)
	}
}

func (v *validator) gateway(p, who string, n Network) {
	g, at := n.Gateway, p+".gateway"
	six := n.CIDR.Addr().Is6()
	switch {
	case !g.IsValid() && six, v.broken(at):
	case !g.IsValid():
		v.warnf(p, "%s: no gateway; OVN-Kubernetes needs a default route, write gateway: %s or the address of your router", who, n.CIDR.Addr().Next())
	case g.Is6() && six && g.IsLinkLocalUnicast():
	case !n.CIDR.Contains(g):
		v.errorf(at, "%s: gateway %s is outside of the network; write the router's address in it", who, g)
	default:
		v.edge(at, "gateway of "+n.CIDR.String(), g)
		if o, taken := v.addresses[g]; !taken {
			v.addresses[g] = owner{"the gateway of " + n.CIDR.String(), at}
		} else if o.path != "helper.address" && o.path != "helper.address6" {
			v.claimAddress(at, "gateway of "+n.CIDR.String(), g)
		}
	}
}

func (v *validator) route(p, who string, n Network, r Route) {
	switch {
	case !r.To.IsValid() || !r.Via.IsValid():
	case r.To.Addr().Is6() != n.CIDR.Addr().Is6():
		v.errorf(p+".to", "%s: the route to %s is of the other IP version", who, r.To)
	case r.To.Bits() == 0:
		v.errorf(p+".to", "%s: the default route is not written here; write gateway: %s", who, r.Via)
	case !n.CIDR.Contains(r.Via) && !r.Via.IsLinkLocalUnicast():
		v.errorf(p+".via", "%s: the next hop %s is outside of the network", who, r.Via)
	}
}

// networkOf finds the network that a lies in.
func (v *validator) networkOf(a netip.Addr) (Network, bool) {
	for _, n := range v.c.Networks {
		if n.CIDR.IsValid() && n.CIDR.Contains(a) {
			return n, true
		}
	}
	return Network{}, false
}

// inNetwork demands that a lies in a network and is an address for one machine there.
func (v *validator) inNetwork(path, who string, a netip.Addr, remedy string) {
	if !a.IsValid() {
		return
	}
	if _, ok := v.networkOf(a); ok {
		v.edge(path, who, a)
		return
	}
	if v.broken("networks") || len(v.c.Networks) == 0 {
		return
	}
	var names []string
	for _, n := range v.c.Networks {
		names = append(names, n.CIDR.String())
	}
	v.errorf(path, "%s: address %s is in none of the networks (%s); correct it, or %s", who, a, clip(alternatives(names)), remedy)
}

// edge refuses the first and last address of a network, which no machine can have.
func (v *validator) edge(path, who string, a netip.Addr) {
	n, ok := v.networkOf(a)
	switch {
	case !ok || n.CIDR.Bits() >= a.BitLen()-1:
	case a == n.CIDR.Addr():
		v.errorf(path, "%s: %s is the address of the network itself; write one after it, such as %s", who, a, a.Next())
	case a.Is4() && a == last(n.CIDR):
		v.errorf(path, "%s: %s is the broadcast address of %s; write one before it, such as %s", who, a, n.CIDR, a.Prev())
	}
}

// last is the highest address of p.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// pools checks the pools once all addresses are known.
func (v *validator) pools() {
	taken := slices.SortedFunc(maps.Keys(v.addresses), netip.Addr.Compare)
	for i, n := range v.c.Networks {
		p := index("networks", i) + ".dhcp"
		who := "network " + n.CIDR.String()
		switch {
		case !n.CIDR.IsValid() || v.broken(p+".pool"):
		case !n.DHCP.Pool.IsValid():
			if n.DHCP.Unknown == "pool" {
				v.errorf(p+".unknown", "%s: unknown machines are to get a pool address and there is no pool; write pool: FIRST-LAST or unknown: ignore", who)
			}
		default:
			v.pool(p+".pool", who, n, taken)
		}
	}
}

func (v *validator) pool(p, who string, n Network, taken []netip.Addr) {
	r := n.DHCP.Pool
	if !n.CIDR.Contains(r.First) || !n.CIDR.Contains(r.Last) {
		v.errorf(p, "%s: pool %s is not inside of the network; write two of its addresses (%s to %s)", who, r, n.CIDR.Addr().Next(), last(n.CIDR).Prev())
		return
	}
	if n.CIDR.Bits() < r.First.BitLen()-1 && (r.Contains(n.CIDR.Addr()) || r.First.Is4() && r.Contains(last(n.CIDR))) {
		v.errorf(p, "%s: pool %s has the network's first or last address in it, which no machine can have; leave it out", who, r)
	}
	i, _ := slices.BinarySearchFunc(taken, r.First, netip.Addr.Compare)
	inside := taken[i:]
	if end := slices.IndexFunc(inside, func(a netip.Addr) bool { return !r.Contains(a) }); end >= 0 {
		inside = inside[:end]
	}
	if len(inside) > 0 {
		o := v.addresses[inside[0]]
		more := ""
		if len(inside) > 1 {
			more = fmt.Sprintf(" and %d more", len(inside)-1)
		}
		v.errorf(p, "%s: pool %s overlaps %s of %s (line %d)%s; end the pool before it or start it after", who, r, inside[0], o.who, v.line(o.path), more)
	}
	if n.DHCP.Mode != "server" && !v.failed[strings.TrimSuffix(p, "pool")+"mode"] {
		v.warnf(p, "%s: with mode %s the pool is not used; remove it or write mode: server", who, n.DHCP.Mode)
	}
}
