package ra

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/ndp"

	"helperd/internal/netif"
	"helperd/plan"
)

// Lifetimes: of the default route, names and routes three times the longest
// interval (RFC 4861 section 6.2.1, RFC 8106 section 5), so that two lost
// advertisements do no harm. That a prefix is on the link does not end with this
// daemon: it has the RFC's defaults, 30 and 7 days.
const (
	routerLifetime    = 3 * maxInterval
	validLifetime     = 30 * 24 * time.Hour
	preferredLifetime = 7 * 24 * time.Hour
)

// hopLimit is what machines behind a gateway are told to send with (RFC 4861
// section 6.2.1). Who is no gateway leaves it to the one that is.
const hopLimit = 64

// content is what the advertisements of one interface say.
type content struct {
	managed  bool
	gateway  bool // this machine is the default route
	mtu      int
	prefixes []netip.Prefix
	dns      []netip.Addr
	search   []string
	routes   []netip.Prefix
}

// combine gives what is said on an interface that is in these networks.
func combine(networks []*plan.Advertisement, i *netif.Interface) (c content) {
	for _, n := range networks {
		c.managed = c.managed || n.Managed
		c.gateway = c.gateway || i.Holds(n.Gateway)
		if n.MTU != 0 && (c.mtu == 0 || n.MTU < c.mtu) {
			c.mtu = n.MTU
		}
		c.prefixes = append(c.prefixes, n.Prefix)
		c.dns = union(c.dns, n.DNS)
		c.search = union(c.search, n.Search)
		for _, r := range n.Routes {
			if i.Holds(r.Via) {
				c.routes = union(c.routes, []netip.Prefix{r.To})
			}
		}
	}
	return c
}

// union gives a with those of b that it has not.
func union[T comparable](a, b []T) []T {
	a = slices.Clip(a)
	for _, v := range b {
		if !slices.Contains(a, v) {
			a = append(a, v)
		}
	}
	return a
}

// without gives those of a that are not in b.
func without[T comparable](a, b []T) []T {
	return slices.DeleteFunc(slices.Clone(a), func(v T) bool { return slices.Contains(b, v) })
}

func (c content) equal(d content) bool {
	return c.managed == d.managed && c.gateway == d.gateway && c.mtu == d.mtu && slices.Equal(c.prefixes, d.prefixes) &&
		slices.Equal(c.dns, d.dns) && slices.Equal(c.search, d.search) && slices.Equal(c.routes, d.routes)
}

// empty reports whether there is nothing to be a router for.
func (c content) empty() bool { return len(c.prefixes) == 0 }

// withdrawn is what old said, or took back already, and c does not say.
func (c content) withdrawn(old, gone content) content {
	return content{
		prefixes: without(union(old.prefixes, gone.prefixes), c.prefixes), dns: without(union(old.dns, gone.dns), c.dns),
		search: without(union(old.search, gone.search), c.search), routes: without(union(old.routes, gone.routes), c.routes),
	}
}

// last is what this machine says when it ends and its links stay: what is true of
// them without it, but no names to ask it for. A restart takes a moment, so the
// machines keep those until they run out. The ways through this machine end at once.
func (c content) last() (rest, gone content) {
	return content{managed: c.managed, mtu: c.mtu, prefixes: c.prefixes}, content{routes: c.routes}
}

// message gives an advertisement that says c and takes back gone, and what there
// was no room for: an advertisement is never fragmented (RFC 6980), and every link
// carries 1280 bytes.
func (c content) message(gone content, mac plan.MAC) (m *ndp.RouterAdvertisement, left int) {
	m = &ndp.RouterAdvertisement{ManagedConfiguration: c.managed, OtherConfiguration: c.managed}
	if c.gateway {
		// The file names this machine, so it wins over routers that nobody named. RFC 4191 section 2.2: without a lifetime it is medium.
		m.RouterLifetime, m.CurrentHopLimit, m.RouterSelectionPreference = routerLifetime, hopLimit, ndp.High
	}
	const room = 1280 - 40 - 16 // without the headers of IPv6 and ICMPv6
	used := 0
	add := func(o ndp.Option, size int) {
		if used+size > room {
			left++
			return
		}
		used += size
		m.Options = append(m.Options, o)
	}
	if !mac.IsZero() {
		add(&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr(mac[:])}, 8)
	}
	if c.mtu != 0 {
		add(ndp.NewMTU(uint32(c.mtu)), 8)
	}
	for _, p := range c.prefixes {
		add(onLink(p, validLifetime, preferredLifetime), 32)
	}
	for _, p := range gone.prefixes {
		add(onLink(p, 0, 0), 32)
	}
	for _, r := range c.routes {
		add(route(r, routerLifetime), 24)
	}
	for _, r := range gone.routes {
		add(route(r, 0), 24)
	}
	servers(c.dns, routerLifetime, add)
	servers(gone.dns, 0, add)
	domains(c.search, routerLifetime, add)
	domains(gone.search, 0, add)
	return m, left
}

func onLink(p netip.Prefix, valid, preferred time.Duration) ndp.Option {
	return &ndp.PrefixInformation{Prefix: p.Addr(), PrefixLength: uint8(p.Bits()), OnLink: true, ValidLifetime: valid, PreferredLifetime: preferred}
}

func route(to netip.Prefix, lifetime time.Duration) ndp.Option {
	return &ndp.RouteInformation{Prefix: to.Addr(), PrefixLength: uint8(to.Bits()), RouteLifetime: lifetime}
}

// longestOption is the longest that ndp writes.
const longestOption = 31 * 8

// servers adds the servers (RFC 8106 section 5.1), as many an option as fit into it.
func servers(list []netip.Addr, lifetime time.Duration, add func(ndp.Option, int)) {
	for some := range slices.Chunk(list, (longestOption-8)/16) {
		add(&ndp.RecursiveDNSServer{Lifetime: lifetime, Servers: some}, 8+16*len(some))
	}
}

// domains adds the search list (RFC 8106 section 5.2), as many domains an option as fit into it.
func domains(list []string, lifetime time.Duration, add func(ndp.Option, int)) {
	for len(list) > 0 {
		n, size := 0, 8
		for n < len(list) && (n == 0 || size+len(list[n])+2 <= longestOption) {
			size += len(list[n]) + 2 // a length in front of each label, and the root
			n++
		}
		add(&ndp.DNSSearchList{Lifetime: lifetime, DomainNames: list[:n]}, (size+7)/8*8)
		list = list[n:]
	}
}
