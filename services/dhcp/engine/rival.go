package engine

import (
	"net/netip"

	"helperd/plan"
	"helperd/timeline"
)

// HeardProxy notes that another proxy on the link of these subnets told
// somebody what to boot: an OFFER without an address. It gives no addresses and
// locks no pool, but a machine takes the word of either.
func (e *Engine) HeardProxy(link []*Subnet, server netip.Addr, mac plan.MAC, now int64, a *Answer) {
	a.reset()
	if !server.IsValid() || e.policy.ours[server] {
		return
	}
	for _, n := range link {
		old, known := e.rivals[n.Prefix]
		f := Foreign{Network: n.Prefix, Server: server, MAC: mac, heard: now}
		e.rivals[n.Prefix] = f
		text := "another server tells machines on network " + n.Prefix.String() + " what to boot (proxy DHCP), and nodes may boot that instead. Stop that server"
		same := known && old.Server == server && old.MAC == mac && now-old.heard < foreignFor
		if !same && e.notes.allow(noteKey{mac, timeline.DHCPForeign, text}, false, now) {
			a.Events = append(a.Events, timeline.Event{Kind: timeline.DHCPForeign, Addr: server, MAC: mac, Detail: text})
		}
	}
}

// Rivals are the other proxies that were heard within the last ten minutes. They
// speak only when a machine boots.
func (e *Engine) Rivals(now int64) []Foreign { return e.lately(e.rivals, now) }
