package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"helperd/config"
)

// Lease times where the file says none. A node keeps its address for a week
// without the helper; a stranger's address is free again on the same day.
const (
	poolLease        = 4 * time.Hour
	reservationLease = 7 * 24 * time.Hour
)

// dhcp derives the subnets and, for each MAC in them, a reservation an address. A
// host without a MAC has one for its UUID or client id.
func (b *builder) dhcp() {
	for i := range b.c.Networks {
		n := &b.c.Networks[i]
		s := b.subnet(i)
		switch {
		case n.CIDR.Addr().Is4():
			b.p.DHCP.Enabled = b.p.DHCP.Enabled || s.Mode != ModeOff
			b.p.DHCP.Subnets = append(b.p.DHCP.Subnets, s)
		case s.Mode == ModeServer:
			b.p.DHCP6.Enabled = true
			b.p.DHCP6.Subnets = append(b.p.DHCP6.Subnets, s)
		}
	}
	for _, n := range b.p.Nodes {
		for _, m := range n.MACs {
			r := Reservation{MAC: m, UUID: n.UUID, ClientID: n.ID, Node: n.FQDN, Hostname: n.FQDN, Domain: n.Cluster.Zone, Search: []string{n.Cluster.Zone}}
			b.reserve(r, n.IP, b.bootFiles(n, m))
			b.reserve(r, n.IP6, b.bootURLs(n, m))
		}
	}
	for _, h := range b.p.Hosts {
		_, domain, _ := strings.Cut(h.Name, ".")
		r := Reservation{UUID: h.UUID, ClientID: h.ID, Hostname: h.Name, Domain: domain, Search: []string{domain}}
		for _, r.MAC = range h.MACs {
			b.reserve(r, h.IP, nil)
			b.reserve(r, h.IP6, nil)
		}
		if len(h.MACs) == 0 && (!h.UUID.IsZero() || h.ID != "") {
			b.reserve(r, h.IP, nil)
		}
	}
}

// reserve adds r for a if it is handed out on its network.
func (b *builder) reserve(r Reservation, a netip.Addr, files *BootFiles) {
	i := slices.IndexFunc(b.c.Networks, func(n config.Network) bool { return a.IsValid() && n.CIDR.Contains(a) })
	if i < 0 || b.dhcpMode(i) == ModeOff {
		return
	}
	r.Address, r.Boot = a, files
	switch {
	case a.Is4():
		b.p.DHCP.Reservations = append(b.p.DHCP.Reservations, r)
	case b.dhcpMode(i) == ModeServer:
		r.UUID, r.ClientID = UUID{}, ""
		b.p.DHCP6.Reservations = append(b.p.DHCP6.Reservations, r)
	}
}

// dhcpMode is the mode of network i. On an IPv6 network most machines find
// addresses of their own, so there DHCP is only where the file asks for it: by
// dhcp: at the network, or by a machine with a mac and an ip6 in it.
func (b *builder) dhcpMode(i int) Mode {
	n := &b.c.Networks[i]
	if n.CIDR.Addr().Is6() && !b.c.Written(fmt.Sprintf("networks[%d].dhcp", i)) && !b.wantsDHCPv6(n.CIDR) {
		return ModeOff
	}
	return Mode(n.DHCP.Mode)
}

// wantsDHCPv6 reports whether a machine in p has a MAC to be given its address by.
func (b *builder) wantsDHCPv6(p netip.Prefix) bool {
	waits := func(macs []MAC, a netip.Addr) bool { return len(macs) > 0 && a.IsValid() && p.Contains(a) }
	return slices.ContainsFunc(b.p.Nodes, func(n *Node) bool { return waits(n.MACs, n.IP6) }) ||
		slices.ContainsFunc(b.p.Hosts, func(h Host) bool { return waits(h.MACs, h.IP6) })
}

// subnet derives network i.
func (b *builder) subnet(i int) Subnet {
	n := &b.c.Networks[i]
	s := Subnet{
		Prefix:           n.CIDR,
		Interface:        n.Interface,
		Mode:             b.dhcpMode(i),
		Server:           b.p.Helper.Address,
		Pool:             n.DHCP.Pool,
		PoolLease:        cmp.Or(time.Duration(n.DHCP.Lease), poolLease),
		ReservationLease: cmp.Or(time.Duration(n.DHCP.Lease), reservationLease),
		IgnoreUnknown:    n.DHCP.Unknown == "ignore" || !n.DHCP.Pool.IsValid(),
		DNS:              n.DNS,
		NTP:              n.NTP,
		Time:             b.timeOf(n),
	}
	// A machine of the pool belongs to no cluster; it finds the names of those
	// that share its network, and takes the name of the only one.
	s.Search = b.zonesOn(n.CIDR)
	if n.CIDR.Addr().Is6() {
		s.Server = b.p.Helper.Address6
		return s
	}
	if len(s.Search) == 1 {
		s.Domain = s.Search[0]
	}
	s.Router, s.MTU, s.Routes = n.Gateway, n.MTU, routes(n)
	return s
}

// routes are those of option 121. A client that is sent it ignores option 3, so
// the default route is repeated (RFC 3442, "DHCP Client Behavior").
func routes(n *config.Network) []Route {
	if len(n.Routes) == 0 {
		return nil
	}
	var out []Route
	if n.Gateway.IsValid() {
		out = append(out, Route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), n.Gateway})
	}
	for _, r := range n.Routes {
		out = append(out, Route{r.To, r.Via})
	}
	return out
}
