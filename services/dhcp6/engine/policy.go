package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"helperd/plan"
)

// A Policy is what is served, compiled from a plan. It is immutable.
type Policy struct {
	subnets []*Subnet // longest prefix first
	byMAC   map[plan.MAC][]*reservation
	owners  map[netip.Addr][]*reservation // by reserved address
	barred  map[netip.Addr]bool           // never given from a pool: reserved, or this machine's
}

// A Subnet is one served network with its options encoded.
type Subnet struct {
	plan.Subnet
	options []dhcpv6.Option // in case the client asks for them
}

type reservation struct {
	*plan.Reservation
	subnet  *Subnet
	options []dhcpv6.Option
}

// Compile encodes what d says. local are this machine's own addresses.
func Compile(d *plan.DHCP, local []netip.Addr) (*Policy, error) {
	p := &Policy{byMAC: map[plan.MAC][]*reservation{}, owners: map[netip.Addr][]*reservation{}, barred: map[netip.Addr]bool{}}
	for _, a := range local {
		p.barred[a] = true
	}
	for _, s := range d.Subnets {
		if !s.Prefix.Addr().Is6() {
			return nil, fmt.Errorf("network %s: DHCPv6 is of IPv6 networks", s.Prefix)
		}
		n := &Subnet{Subnet: s}
		n.options = n.encode(s.Search)
		p.subnets = append(p.subnets, n)
		p.barred[n.Server], p.barred[n.Prefix.Masked().Addr()] = true, true // the latter is the routers' (RFC 4291 section 2.6.1)
	}
	slices.SortStableFunc(p.subnets, func(a, b *Subnet) int { return cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()) })
	for i := range d.Reservations {
		r := &d.Reservations[i]
		n := p.at(r.Address)
		if n == nil {
			continue // its network is not served here
		}
		entry := &reservation{r, n, n.encode(r.Search)}
		p.byMAC[r.MAC] = append(p.byMAC[r.MAC], entry)
		p.owners[r.Address] = append(p.owners[r.Address], entry)
		p.barred[r.Address] = true
	}
	return p, nil
}

// encode gives the options that clients may ask for.
func (n *Subnet) encode(search []string) (out []dhcpv6.Option) {
	if len(n.DNS) > 0 {
		out = append(out, dhcpv6.OptDNS(ips(n.DNS)...))
	}
	if len(search) > 0 {
		out = append(out, dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: search}))
	}
	if len(n.NTP) > 0 {
		o := &dhcpv6.OptNTPServer{}
		for _, ip := range ips(n.NTP) {
			server := dhcpv6.NTPSuboptionSrvAddr(ip)
			o.Suboptions.Add(&server)
		}
		out = append(out, o, dhcpv6.OptSNTP(ips(n.NTP)...))
	}
	return append(out, number(dhcpv6.OptionSolMaxRT, maxRT), number(dhcpv6.OptionInfMaxRT, maxRT), number(dhcpv6.OptionInformationRefreshTime, refresh))
}

// pooled reports whether machines that are in no list get an address.
func (n *Subnet) pooled() bool { return n.Pool.IsValid() && !n.IgnoreUnknown }

// Subnets are the served networks.
func (p *Policy) Subnets() []*Subnet { return p.subnets }

// at gives the subnet that an address lies in, or nil.
func (p *Policy) at(a netip.Addr) *Subnet {
	for _, n := range p.subnets {
		if n.Prefix.Contains(a) {
			return n
		}
	}
	return nil
}

// reservation gives what mac has in n, or nil.
func (p *Policy) reservation(mac plan.MAC, n *Subnet) *reservation {
	for _, r := range p.byMAC[mac] {
		if r.subnet == n {
			return r
		}
	}
	return nil
}

// lease is a time as IAs hold it; all ones would be for ever.
func lease(d time.Duration) time.Duration {
	return min(max(d.Truncate(time.Second), time.Second), (1<<32-2)*time.Second)
}
