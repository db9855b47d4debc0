package engine

import (
	"net/netip"
	"slices"

	"helperd/timeline"
)

const (
	// wordFor is how long the word of a client counts, in seconds, that a server
	// serves the network which never answered us: it may serve known machines alone.
	wordFor = 24 * 3600
	// lookFor is how long servers have for their first answer, in seconds. Some
	// look for three whether the address that they offer is free.
	lookFor = 15
	// mostServers bounds what is remembered of a network: clients can name any.
	mostServers = 4
)

// site is what is known of the DHCP servers of a network that has mode proxy. Times are Unix seconds.
type site struct {
	servers []Foreign
	since   int64 // when mode proxy began
	heard   int64 // when one answered last; 0: never
	word    int64 // when a client chose one
}

func (s *site) step(by int64) {
	for _, at := range []*int64{&s.since, &s.heard, &s.word} {
		if *at != 0 {
			*at += by
		}
	}
	for i := range s.servers {
		s.servers[i].heard += by
	}
}

// adoptSites begins to look for servers on networks that have mode proxy now.
func (e *Engine) adoptSites(now int64) {
	for prefix := range e.sites {
		if n := e.policy.exact(prefix); n == nil || !n.proxied() {
			delete(e.sites, prefix)
		}
	}
	for _, n := range e.policy.subnets {
		if n.proxied() && e.sites[n.Prefix] == nil {
			e.sites[n.Prefix] = &site{since: now}
		}
	}
}

// site notes that f serves the addresses of n: one with a MAC answered, others
// were named by a client.
func (e *Engine) site(n *Subnet, f Foreign, now int64, a *Answer) {
	s := e.sites[n.Prefix]
	f.Network, f.heard = n.Prefix, now
	if f.MAC.IsZero() {
		s.word = now
	} else {
		s.heard = now
	}
	s.servers = slices.DeleteFunc(s.servers, func(old Foreign) bool { return now-old.heard >= wordFor })
	for i := range s.servers {
		if old := &s.servers[i]; old.Server == f.Server && (old.MAC == f.MAC || f.MAC.IsZero()) {
			old.heard = now
			return
		}
	}
	s.servers = slices.DeleteFunc(s.servers, func(old Foreign) bool { return old.Server == f.Server })
	if len(s.servers) == mostServers { // who answered stays before who was only named
		i := max(0, slices.IndexFunc(s.servers, func(old Foreign) bool { return old.MAC.IsZero() }))
		s.servers = slices.Delete(s.servers, i, i+1)
	}
	s.servers = append(s.servers, f)
	text := "gives the addresses of network " + n.Prefix.String() + ", where helperd has mode proxy"
	if e.notes.allow(noteKey{f.MAC, timeline.DHCPSite, text}, false, now) {
		a.Events = append(a.Events, timeline.Event{Kind: timeline.DHCPSite, Addr: f.Server, MAC: f.MAC, Detail: text})
	}
}

// alone reports whether no server of s is there. One that has answered must go
// on to; of one that never did the word of its clients is all there is.
func (s *site) alone(now int64) bool {
	switch {
	case now-s.since < lookFor:
		return false
	case s.heard != 0:
		return now-s.heard >= foreignFor
	}
	return s.word == 0 || now-s.word >= wordFor
}

// Sites are the DHCP servers that give the addresses where this one is a proxy,
// and the networks where none was seen.
func (e *Engine) Sites(now int64) (servers []Foreign, none []netip.Prefix) {
	for _, n := range e.policy.subnets {
		switch s := e.sites[n.Prefix]; {
		case !n.proxied():
		case s.alone(now):
			none = append(none, n.Prefix)
		default:
			servers = append(servers, s.servers...)
		}
	}
	return servers, none
}
