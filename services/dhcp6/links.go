package dhcp6

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"helperd/internal/netif"
	"helperd/services/dhcp6/engine"
)

// place is an interface to be served, with the networks that are on it. A
// place without networks serves relays only.
type place struct {
	device  string
	index   int
	subnets []*engine.Subnet
}

// resolve says where the networks are served, and what is missing. Relays of
// networks that are not here send to the helper's address, or to ff05::1:3 on
// any interface that is served.
func resolve(p *engine.Policy, list []netif.Interface) (places []place, missing []string) {
	at := func(i *netif.Interface) *place {
		k := slices.IndexFunc(places, func(at place) bool { return at.index == i.Index })
		if k < 0 {
			k, places = len(places), append(places, place{device: i.Name, index: i.Index})
			if text := i.Lacks6(); text != "" {
				missing = append(missing, text)
			}
		}
		return &places[k]
	}
	for _, n := range p.Subnets() {
		here, own := netif.At(list, n.Interface, n.Prefix), netif.Holding(list, n.Server)
		switch {
		case here != nil:
			here := at(here)
			here.subnets = append(here.subnets, n)
		case n.Interface != "":
			missing = append(missing, fmt.Sprintf("interface %s of network %s is not there; it is served as soon as it comes up", n.Interface, n.Prefix))
		case own != nil:
			at(own)
		case !n.Server.IsValid():
			missing = append(missing, fmt.Sprintf("no interface has an address in network %s; configure one, or write the network's interface:, or helper.address6 for its relays to send to", n.Prefix))
		default:
			missing = append(missing, fmt.Sprintf("no interface has an address in network %s, and none has %s, which its relays would send to; configure one of them", n.Prefix, n.Server))
		}
	}
	return places, missing
}

// bind takes the sockets that g needs on these interfaces.
func (s *Service) bind(g *generation, list []netif.Interface) error {
	places, missing := resolve(g.policy, list)
	g.links, g.missing = map[*port][]*engine.Subnet{}, missing
	for _, at := range places {
		p, err := s.acquire(at)
		switch {
		case errors.Is(err, errStale):
			g.missing = append(g.missing, "interface "+at.device+" is a new one; its socket is opened again in a second")
		case errors.Is(err, unix.ENODEV):
			g.missing = append(g.missing, "interface "+at.device+" went away; it is served as soon as it comes up")
		case err != nil:
			s.drop(g)
			return err
		default:
			g.links[p] = at.subnets
		}
	}
	return nil
}

// drop releases the sockets of g.
func (s *Service) drop(g *generation) {
	for p := range g.links {
		s.release(p)
	}
}

// rebind takes the sockets of interfaces that came, and lets go those of
// interfaces that went. Options change when somebody begins or ends to serve time.
func (s *Service) rebind() {
	old := s.generation.Load()
	if old == nil || !old.enabled {
		return
	}
	list, err := netif.List()
	if err != nil {
		return // the next second tries again
	}
	places, missing := resolve(old.policy, list)
	if slices.Equal(old.local, netif.Addrs(list)) && slices.Equal(old.time, s.host.TimesServed(old.source)) && old.fits(places, missing) {
		return
	}
	g, err := s.build(old.source, list)
	if err != nil {
		if text := err.Error(); *s.unbindable.Swap(&text) != text {
			s.host.Log.Error("interface not served; trying again every second", "err", err)
		}
		return
	}
	s.unbindable.Store(new(string))
	if s.generation.CompareAndSwap(old, g) {
		s.drop(old)
		return
	}
	s.drop(g) // a Commit came in between
}

// fits reports whether g serves exactly these places.
func (g *generation) fits(places []place, missing []string) bool {
	if len(places) != len(g.links) || !slices.Equal(missing, g.missing) {
		return false
	}
	return !slices.ContainsFunc(places, func(at place) bool {
		for p, subnets := range g.links {
			if p.index == at.index && p.device == at.device {
				return !slices.Equal(subnets, at.subnets)
			}
		}
		return true
	})
}
