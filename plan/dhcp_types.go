package plan

import (
	"net/netip"
	"slices"
	"time"

	"helperd/config"
)

// DHCP is what the DHCP server of one IP version serves. What IPv6 has no option
// for is left empty there: Router, MTU, Routes and Domain.
type DHCP struct {
	Enabled bool
	Subnets []Subnet
	// Reservations are in the order of the file; a node with two MACs has two.
	Reservations []Reservation
}

// Mode of DHCP on a network.
type Mode string

// The modes.
const (
	ModeServer Mode = "server"
	ModeProxy  Mode = "proxy"
	ModeOff    Mode = "off"
)

// Range is an inclusive range of addresses.
type Range = config.Range

// Subnet is one network with DHCP.
type Subnet struct {
	Prefix           netip.Prefix
	Interface        string // empty: the interface that holds an address in Prefix; none: reached by relay
	Mode             Mode
	Server           netip.Addr // option 54 and siaddr; of IPv6 where relays send to, zero if helper.address6 is not written
	Pool             Range      // zero: known machines only
	PoolLease        time.Duration
	ReservationLease time.Duration
	IgnoreUnknown    bool // machines that are in no list get no answer
	Router           netip.Addr
	DNS              []netip.Addr
	NTP              []netip.Addr   // empty: option 42, or 56 of DHCPv6, is not sent, or names Time
	Time             netip.AddrPort // of this machine; option 42 or 56 names it while somebody answers there. Zero: NTP says all
	MTU              int            // 0: option 26 is not sent
	Routes           []Route        // option 121; the default route is in it when Router is set
	Domain           string         // option 15 for pool clients; empty: not sent
	Search           []string       // option 119 for pool clients
}

// Route is a static route.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Reservation is a fixed address for one MAC. UUID and ClientID are of IPv4 only;
// a machine with several MACs has them in each of its reservations.
type Reservation struct {
	MAC      MAC      // zero: a host that is known by UUID or ClientID alone
	UUID     UUID     // zero: not known
	ClientID ClientID // empty: not known
	Address  netip.Addr
	Node     string // FQDN of the node; empty for hosts
	Hostname string // option 12, or 39 of DHCPv6
	Domain   string // option 15
	Search   []string
	Boot     *BootFiles // nil: nothing to boot
}

// Proxied reports whether another server gives the addresses of a's network.
func (d *DHCP) Proxied(a netip.Addr) bool {
	return slices.ContainsFunc(d.Subnets, func(s Subnet) bool { return s.Mode == ModeProxy && s.Prefix.Contains(a) })
}

// WithTime is d with Time of those subnets that are served it as NTP: machines that
// are sent to a dead server wait for it.
func (d *DHCP) WithTime(served []bool) *DHCP {
	if !slices.Contains(served, true) {
		return d
	}
	c := *d
	c.Subnets = slices.Clone(d.Subnets)
	for i, answers := range served {
		if answers {
			c.Subnets[i].NTP = []netip.Addr{c.Subnets[i].Time.Addr()}
		}
	}
	return &c
}
