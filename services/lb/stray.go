package lb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"helperd/plan"
	"helperd/services/lb/engine"
	"helperd/services/lb/peek"
	"helperd/services/lb/table"
	"helperd/timeline"
)

// strayEvery is how often the timeline hears of a frontend that turns a node, or
// strangers, away. The counters know all of them.
const strayEvery = time.Minute

// StrayStatus is the last connection of a frontend that was closed before a backend was chosen.
type StrayStatus struct {
	At     time.Time  `json:"at"`
	Client netip.Addr `json:"client"`
	Detail string     `json:"detail"` // why, and what to do
}

// strayKey is what tells apart strays that the timeline hears of.
type strayKey struct {
	frontend, node string
	reason         engine.Reason
}

// stray is called by the workers, and passes on what observe keeps up with.
func (s *Service) stray(x engine.Stray) {
	select {
	case s.strays <- x:
	default:
	}
}

// turnedAway tells of a connection that was closed before a backend was chosen.
func (s *Service) turnedAway(x *engine.Stray, now time.Time, told map[strayKey]time.Time) {
	name, why := x.Frontend.Config.Name, whyStray(x)
	s.host.Log.Debug("connection turned away", "frontend", name, "ip", x.Client, "err", why)
	s.mu.Lock()
	if slices.Contains(s.table.Frontends, x.Frontend) {
		s.lastStrays[name] = &StrayStatus{At: now, Client: x.Client, Detail: why}
	}
	s.mu.Unlock()
	key := strayKey{frontend: name, reason: x.Reason}
	if n := x.Table.Node(x.Client); n != nil {
		key.node = n.Node.FQDN
	}
	if last, ok := told[key]; ok && now.Sub(last) < strayEvery {
		return
	}
	told[key] = now
	s.host.Events.Emit(timeline.Event{Kind: timeline.LBRefused, Node: key.node, Addr: x.Client, Detail: name + ": " + why})
}

// forgetStrays drops what is known of frontends that are gone. The caller holds mu.
func (s *Service) forgetStrays() {
	for name := range s.lastStrays {
		if !slices.ContainsFunc(s.table.Frontends, func(f *table.Frontend) bool { return f.Config.Name == name }) {
			delete(s.lastStrays, name)
		}
	}
}

// whyStray says why a connection was turned away, and what to do.
func whyStray(x *engine.Stray) string {
	c := &x.Frontend.Config
	switch {
	case x.Reason == engine.NotAllowed && x.Frontend.MachineConfig:
		return fmt.Sprintf("only the machine networks may connect (%s); if this machine belongs to a cluster, add its network under networks", prefixes(c.Allow))
	case x.Reason == engine.NotAllowed:
		return fmt.Sprintf("its address is not among those that may connect (%s); if it should be, add it to allow", prefixes(c.Allow))
	case x.Reason == engine.BadHead:
		return "it did not begin with a PROXY protocol header, as accept_proxy demands of its address; switch that on there, or take the address out of accept_proxy"
	}
	what, name := "a TLS hello with a server name", ""
	if c.Peek == plan.PeekHost {
		what = "an HTTP request with a Host"
	}
	for _, r := range c.Routes {
		if len(r.Names) > 0 {
			name = ", such as " + r.Names[0]
			if strings.HasPrefix(r.Names[0], ".") {
				name = ", such as name" + r.Names[0]
			}
			break
		}
	}
	switch {
	case x.Name != "":
		return fmt.Sprintf("it asked for %.100q, which no cluster at this address has; ask for a name of a cluster%s", x.Name, name)
	case x.Head == peek.More:
		return fmt.Sprintf("%s did not come within 5 s and 16 KiB, and it comes from no node of a cluster", what)
	}
	return fmt.Sprintf("it did not begin with %s, and it comes from no node of a cluster; ask for a name of a cluster%s", what, name)
}

func prefixes(list []netip.Prefix) string {
	text := make([]string, len(list))
	for i, p := range list {
		text[i] = p.String()
	}
	return strings.Join(text, " ")
}
