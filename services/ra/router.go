package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/ndp"

	"helperd/plan"
)

const (
	// lookEvery is the time between two solicitations of our own. Routers answer
	// them; what they answer to others may be for these alone.
	lookEvery = 5 * time.Minute
	// heardFor is how long a router counts that is not heard any more: two
	// solicitations went unanswered.
	heardFor = 2*lookEvery + time.Minute
	// maxRouters are kept a link. More are forgeries as a rule, and only counted.
	maxRouters = 16
	// maxPrefixes of a router are kept.
	maxPrefixes = 8
	// toldEvery is how often one router is worth an event.
	toldEvery = time.Minute
)

// router is another router on a link.
type router struct {
	addr     netip.Addr
	mac      plan.MAC // zero: it does not tell
	managed  bool
	other    bool
	lifetime time.Duration // of the default route through it; 0: none
	mtu      int           // 0: it says none
	prefixes []prefix

	heard time.Time
	told  time.Time // of the last event
	said  string    // in it
}

// prefix is what a router says of one.
type prefix struct {
	netip.Prefix
	onLink     bool
	autonomous bool // machines make addresses of it
}

// hear takes in what the router says now.
func (r *router) hear(m *message, now time.Time) {
	*r = router{
		addr: m.from, mac: m.mac, managed: m.ra.ManagedConfiguration, other: m.ra.OtherConfiguration, lifetime: m.ra.RouterLifetime,
		heard: now, told: r.told, said: r.said,
	}
	for _, o := range m.ra.Options {
		switch o := o.(type) {
		case *ndp.MTU:
			r.mtu = int(o.MTU)
		case *ndp.PrefixInformation:
			p := netip.PrefixFrom(o.Prefix, int(o.PrefixLength))
			if o.ValidLifetime > 0 && p.IsValid() && !p.Addr().IsLinkLocalUnicast() && len(r.prefixes) < maxPrefixes {
				r.prefixes = append(r.prefixes, prefix{p, o.OnLink, o.AutonomousAddressConfiguration})
			}
		}
	}
}

// who is the router for people.
func (r *router) who() string {
	if r.mac.IsZero() {
		return r.addr.String()
	}
	return fmt.Sprintf("%s (MAC %s)", r.addr, r.mac)
}

// says is what it advertises, for people.
func (r *router) says() string {
	out := []string{"flags " + flags(r.managed, r.other), "no default route"}
	if r.lifetime > 0 {
		out[1] = fmt.Sprintf("a default route for %s", r.lifetime)
	}
	if r.mtu != 0 {
		out = append(out, fmt.Sprintf("MTU %d", r.mtu))
	}
	for _, p := range r.prefixes {
		text := "prefix " + p.String()
		if p.onLink {
			text += " on the link"
		}
		if p.autonomous {
			text += " for addresses by SLAAC"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func flags(managed, other bool) string {
	switch {
	case managed && other:
		return "M and O"
	case managed:
		return "M"
	case other:
		return "O"
	}
	return "none"
}

// wrong is how the router contradicts what the file says of its link.
func (r *router) wrong(l *expectation) (out []string) {
	if l.managed && !r.managed {
		out = append(out, "machines that hear its flags (M is off) do not ask DHCPv6 for an address")
	}
	if r.lifetime > 0 && !l.expected(r.addr) {
		if l.gateways == nil {
			out = append(out, "it offers itself as default route, and the file names no gateway")
		} else {
			out = append(out, fmt.Sprintf("it offers itself as default route, and the gateway is %s", join(l.gateways)))
		}
	}
	for _, p := range r.prefixes {
		switch {
		case !slices.Contains(l.known, p.Prefix):
			out = append(out, fmt.Sprintf("prefix %s is no network of the file", p.Prefix))
		case p.autonomous && slices.Contains(l.prefixes, p.Prefix):
			out = append(out, fmt.Sprintf("machines make addresses of their own in %s, which nobody knows", p.Prefix))
		}
	}
	if l.mtu != 0 && r.mtu != 0 && l.mtu != r.mtu {
		out = append(out, fmt.Sprintf("its MTU is %d, and the file says %d", r.mtu, l.mtu))
	}
	return out
}

// expectation is what the file says of a link.
type expectation struct {
	content
	known    []netip.Prefix // all IPv6 networks of the file
	gateways []netip.Addr
}

// expected reports whether a router may be a default route. A router shows its
// link-local address alone: it may be any gateway that is written as another one.
func (e *expectation) expected(a netip.Addr) bool {
	return !e.gateway && slices.ContainsFunc(e.gateways, func(g netip.Addr) bool { return g == a || !g.IsLinkLocalUnicast() })
}

func join(list []netip.Addr) string {
	var out []string
	for _, a := range list {
		out = append(out, a.String())
	}
	return strings.Join(out, " or ")
}
