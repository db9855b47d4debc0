package check

import (
	"slices"
	"time"

	"helperd/services/lb/table"
)

// bootstrapRetires is how long all masters must have been up before a bootstrap
// server whose API is down retires.
const bootstrapRetires = 10 * time.Minute

// bootstrapped gives the backends that the bootstrap node of m serves: API and
// machine config server of one cluster. Nil when m is no bootstrap server.
func bootstrapped(t *table.Table, m *table.Member) []*table.Group {
	if !m.Config.Bootstrap {
		return nil
	}
	var out []*table.Group
	for _, g := range t.Groups {
		if slices.ContainsFunc(g.Members, func(o table.Member) bool { return o.Config.Bootstrap && o.Config.Node == m.Config.Node }) {
			out = append(out, g)
		}
	}
	return out
}

// retired reports whether a bootstrap server has done its work: in all backends of
// its node the masters have been up for ten minutes, and its API is down. The
// server of the machine config goes by the same facts. A server that has retired
// comes back when it is up and a master is not. own is what its checks say of it.
func retired(set *settings, own table.State, now time.Time) bool {
	if set.cluster == nil || own == table.Starting {
		return false
	}
	was, _ := set.member.State()
	since, up := mastersUp(set.cluster)
	switch {
	case !up:
		return was == table.Retired && own != table.Up
	case was == table.Retired:
		return true
	}
	return now.Sub(since) >= bootstrapRetires && apiDown(set, own)
}

// mastersUp reports whether all servers but bootstrap's are up, and since when.
func mastersUp(cluster []*table.Group) (since time.Time, up bool) {
	for _, g := range cluster {
		masters := false
		for i := range g.Members {
			m := &g.Members[i]
			if m.Config.Backup || m.Config.Bootstrap {
				continue
			}
			st, at := m.State()
			if st != table.Up || m.Admin() == table.Maint {
				return time.Time{}, false
			}
			if masters = true; at.After(since) {
				since = at
			}
		}
		if !masters {
			return time.Time{}, false
		}
	}
	return since, true
}

// apiDown reports whether the API of the bootstrap node of set is down.
func apiDown(set *settings, own table.State) bool {
	if set.member.Address.Port() == table.PortAPI {
		return own != table.Up
	}
	for _, g := range set.cluster {
		for i := range g.Members {
			m := &g.Members[i]
			if st, _ := m.State(); m.Config.Bootstrap && m.Address.Port() == table.PortAPI {
				return st != table.Up && st != table.Starting
			}
		}
	}
	return own != table.Up
}
