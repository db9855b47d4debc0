package dhcp

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"helperd/services/dhcp/engine"
)

// bind takes the sockets that g needs on these interfaces.
func (s *Service) bind(g *generation, list []iface) error {
	places, missing := resolve(g.policy, list)
	g.links, g.missing = map[*port][]*engine.Subnet{}, missing
	for _, at := range places {
		p, err := s.acquire(at)
		switch {
		case errors.Is(err, errStale):
			g.stale = true
			g.missing = append(g.missing, "interface "+at.device+" is a new one; its sockets are opened again at once")
		case errors.Is(err, unix.ENODEV):
			g.missing = append(g.missing, "interface "+at.device+" went away; it is served as soon as it comes up")
		case err != nil:
			s.drop(g)
			return err
		default:
			g.links[p] = at.subnets
		}
	}
	if err := s.bindProxy(g); err != nil {
		s.drop(g)
		return err
	}
	return nil
}

// drop releases the sockets of g.
func (s *Service) drop(g *generation) {
	for p := range g.links {
		s.release(p)
	}
	for _, sock := range g.proxies {
		sock.Release()
	}
}

// rebind takes the sockets of interfaces that came, and lets go those of
// interfaces that went. Options change when somebody begins or ends to serve time.
func (s *Service) rebind() {
	old := s.generation.Load()
	if old == nil || !old.enabled {
		return
	}
	list, err := interfaces()
	if err != nil {
		return // the next second tries again
	}
	places, missing := resolve(old.policy, list)
	if slices.Equal(old.local, localAddrs(list)) && slices.Equal(old.time, s.host.TimesServed(old.source)) && old.fits(places, missing) {
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
		s.host.Log.Info("interfaces or time servers changed", "served", len(g.links), "missing", len(g.missing))
		return
	}
	s.drop(g) // a Commit came in between
}

// fits reports whether g serves exactly these places.
func (g *generation) fits(places []place, missing []string) bool {
	if len(places) != len(g.links) || !slices.Equal(missing, g.missing) {
		return false
	}
	for _, at := range places {
		found := false
		for p, subnets := range g.links {
			found = found || p.device == at.device && p.index == at.index && slices.Equal(subnets, at.subnets)
		}
		if !found {
			return false
		}
	}
	return true
}
