package plan

import (
	"cmp"
	"net/netip"
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

// dhcp derives the IPv4 subnets and a reservation for each MAC in them.
func (b *builder) dhcp() {
	for i := range b.c.Networks {
		if n := &b.c.Networks[i]; n.CIDR.Addr().Is4() {
			s := b.subnet(n)
			b.p.DHCP.Enabled = b.p.DHCP.Enabled || s.Mode != ModeOff
			b.p.DHCP.Subnets = append(b.p.DHCP.Subnets, s)
		}
	}
	for _, n := range b.p.Nodes {
		for _, m := range n.MACs {
			b.reserve(Reservation{
				MAC: m, Address: n.IP, Node: n.FQDN, Hostname: n.FQDN, Domain: n.Cluster.Zone,
				Search: []string{n.Cluster.Zone}, Boot: b.bootFiles(n, m),
			})
		}
	}
	for _, h := range b.p.Hosts {
		_, domain, _ := strings.Cut(h.Name, ".")
		for _, m := range h.MACs {
			b.reserve(Reservation{MAC: m, Address: h.IP, Hostname: h.Name, Domain: domain, Search: []string{domain}})
		}
	}
}

// reserve adds r if its address is IPv4 and handed out on its network.
func (b *builder) reserve(r Reservation) {
	if n := b.networkOf(r.Address); n != nil && r.Address.Is4() && Mode(n.DHCP.Mode) != ModeOff {
		b.p.DHCP.Reservations = append(b.p.DHCP.Reservations, r)
	}
}

func (b *builder) subnet(n *config.Network) Subnet {
	s := Subnet{
		Prefix:           n.CIDR,
		Interface:        n.Interface,
		Mode:             Mode(n.DHCP.Mode),
		Server:           b.p.Helper.Address,
		Pool:             n.DHCP.Pool,
		PoolLease:        cmp.Or(time.Duration(n.DHCP.Lease), poolLease),
		ReservationLease: cmp.Or(time.Duration(n.DHCP.Lease), reservationLease),
		IgnoreUnknown:    n.DHCP.Unknown == "ignore" || !n.DHCP.Pool.IsValid(),
		Router:           n.Gateway,
		DNS:              n.DNS,
		NTP:              n.NTP,
		Time:             b.timeOf(n),
		MTU:              n.MTU,
	}
	if len(n.Routes) > 0 {
		// A client that is sent option 121 ignores option 3, so the default
		// route is repeated (RFC 3442, "DHCP Client Behavior").
		if n.Gateway.IsValid() {
			s.Routes = append(s.Routes, Route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), n.Gateway})
		}
		for _, r := range n.Routes {
			s.Routes = append(s.Routes, Route{r.To, r.Via})
		}
	}
	// A machine of the pool belongs to no cluster; it finds the names of those
	// that share its network, and takes the name of the only one.
	s.Search = b.zonesOn(n.CIDR)
	if len(s.Search) == 1 {
		s.Domain = s.Search[0]
	}
	return s
}
