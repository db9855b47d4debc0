package engine

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"helperd/plan"
	"helperd/services/dhcp/packet"
)

// A Policy is what is served, compiled from a plan. It is immutable.
type Policy struct {
	subnets []*Subnet // longest prefix first
	byMAC   map[plan.MAC][]*reservation
	byUUID  map[plan.UUID][]*reservation // in both orders that firmware writes
	byID    map[string][]*reservation
	owners  map[netip.Addr][]*reservation // by reserved address
	ours    map[netip.Addr]bool           // server ids that are this machine
	barred  map[netip.Addr]bool           // never given from a pool: reserved, gateways, this machine
}

// A Subnet is one served network with its options encoded.
type Subnet struct {
	plan.Subnet
	index    uint16 // in the policy, counted from 1; a file has room for fewer networks
	serverID []byte
	mask     []byte
	name     []byte // option 66
	options  []option
	reserved times
}

type reservation struct {
	*plan.Reservation
	subnet  *Subnet
	options []option
}

type option struct {
	code byte
	val  []byte
}

// times are options 51, 58 and 59.
type times struct{ lease, renew, rebind [4]byte }

func timesOf(seconds int64) (t times) {
	binary.BigEndian.PutUint32(t.lease[:], uint32(seconds))
	binary.BigEndian.PutUint32(t.renew[:], uint32(seconds/2))
	binary.BigEndian.PutUint32(t.rebind[:], uint32(seconds*7/8))
	return t
}

// Compile encodes what d says. local are this machine's own addresses.
func Compile(d *plan.DHCP, local []netip.Addr) (*Policy, error) {
	p := &Policy{
		byMAC: map[plan.MAC][]*reservation{}, byUUID: map[plan.UUID][]*reservation{}, byID: map[string][]*reservation{}, owners: map[netip.Addr][]*reservation{},
		ours: map[netip.Addr]bool{}, barred: map[netip.Addr]bool{},
	}
	if !d.Enabled {
		return p, nil
	}
	for _, a := range local {
		p.ours[a], p.barred[a] = true, true
	}
	for i := range d.Subnets {
		if d.Subnets[i].Mode == plan.ModeOff {
			continue
		}
		n, err := compileSubnet(&d.Subnets[i])
		if err != nil {
			return nil, fmt.Errorf("network %s: %w", d.Subnets[i].Prefix, err)
		}
		p.subnets = append(p.subnets, n)
		p.ours[n.Server] = true
		for _, a := range []netip.Addr{n.Server, n.Router, n.Prefix.Masked().Addr(), packet.LastAddr(n.Prefix)} {
			p.barred[a] = true
		}
	}
	slices.SortStableFunc(p.subnets, func(a, b *Subnet) int { return cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()) })
	for i, n := range p.subnets {
		n.index = uint16(i + 1)
	}
	for i := range d.Reservations {
		if err := p.reserve(&d.Reservations[i]); err != nil {
			return nil, fmt.Errorf("reservation of %s: %w", d.Reservations[i].Address, err)
		}
	}
	return p, nil
}

func compileSubnet(s *plan.Subnet) (*Subnet, error) {
	if !s.Server.Is4() || !s.Prefix.Addr().Is4() {
		return nil, fmt.Errorf("DHCPv4 needs an IPv4 address of the helper, not %q; set helper.address", s.Server)
	}
	n := &Subnet{
		Subnet: *s, serverID: packet.Addrs(s.Server), mask: packet.Mask(s.Prefix), name: []byte(s.Server.String()),
		reserved: timesOf(seconds(s.ReservationLease)),
	}
	if n.proxied() {
		n.Pool = plan.Range{}
	}
	var err error
	n.options, err = n.encode("", s.Domain, s.Search)
	return n, err
}

func (p *Policy) reserve(r *plan.Reservation) error {
	n := p.at(r.Address)
	if n == nil {
		return nil // its network is not served here
	}
	options, err := n.encode(r.Hostname, r.Domain, r.Search)
	if err != nil {
		return err
	}
	entry := &reservation{r, n, options}
	p.index(entry)
	p.owners[r.Address] = append(p.owners[r.Address], entry)
	p.barred[r.Address] = true
	return nil
}

// encode gives the options of a client, without those of the message itself.
func (n *Subnet) encode(hostname, domain string, search []string) ([]option, error) {
	list, err := packet.SearchList(search)
	if err != nil {
		return nil, err
	}
	var mtu []byte
	if n.MTU > 0 {
		mtu = binary.BigEndian.AppendUint16(nil, uint16(n.MTU))
	}
	var routes []packet.Route
	for _, r := range n.Routes {
		routes = append(routes, packet.Route(r))
	}
	all := []option{
		{packet.Router, packet.Addrs(n.Router)},
		{packet.NameServers, packet.Addrs(n.DNS...)},
		{packet.Hostname, []byte(hostname)},
		{packet.DomainName, []byte(domain)},
		{packet.InterfaceMTU, mtu},
		{packet.Broadcast, packet.Addrs(packet.LastAddr(n.Prefix))},
		{packet.TimeServers, packet.Addrs(n.NTP...)},
		{packet.DomainSearch, list},
		{packet.ClasslessRoutes, packet.Routes(routes)},
	}
	return slices.DeleteFunc(all, func(o option) bool { return len(o.val) == 0 }), nil
}

// seconds of a lease; an option holds 32 bits and all ones are forever.
func seconds(d time.Duration) int64 { return min(max(int64(d/time.Second), 1), 1<<32-2) }

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

// pick finds the network of a request that came in on link. More than one
// network may share a link: the one that knows the machine goes first, then
// one whose pool may have the address that it asks for, then one with a pool.
func (p *Policy) pick(req *packet.Request, link []*Subnet) *Subnet {
	switch {
	case req.Link.IsValid():
		return p.at(req.Link)
	case req.Relay.IsValid():
		return p.at(req.Relay)
	}
	if req.Client.IsValid() {
		if n := p.at(req.Client); n != nil {
			return n
		}
	}
	var best *Subnet
	for _, n := range link {
		if p.reservation(req, n) != nil {
			return n
		}
		if best == nil || n.pooled() && (!best.pooled() || n.Prefix.Contains(req.Requested)) {
			best = n
		}
	}
	return best
}

func (n *Subnet) pooled() bool { return n.Pool.IsValid() && !n.IgnoreUnknown }
