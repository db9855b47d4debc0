package lb

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"helperd/services/lb/table"
	"helperd/timeline"
)

// ErrUnknown is returned for a server that is not in the table.
var ErrUnknown = errors.New("no server")

// fileWeight is the weight that a server has by the file.
const fileWeight = -1

// maxWeight is the highest weight, as in the file and in HAProxy.
const maxWeight = 256

// An order is what a person wants of a server, beside the file. It outlives
// reloads and restarts, until it is undone or the server leaves the file.
type order struct {
	Admin  table.Admin `json:"admin"`
	Weight *int        `json:"weight,omitempty"` // nil: that of the file
}

func (o order) none() bool { return o.Admin == table.Ready && o.Weight == nil }

func (o order) equal(p order) bool { return o.Admin == p.Admin && o.weight() == p.weight() }

// String is such as "drain" or "ready, weight 3".
func (o order) String() string {
	if o.Weight == nil {
		return o.Admin.String()
	}
	return fmt.Sprintf("%s, weight %d", o.Admin, *o.Weight)
}

func (o order) weight() int {
	if o.Weight == nil {
		return fileWeight
	}
	return *o.Weight
}

// orderKey names a server. Its address may change: it is the same machine for people.
type orderKey struct{ backend, server string }

func (k orderKey) String() string { return k.backend + "/" + k.server }

func keyOf(m *table.Member) orderKey { return orderKey{m.Backend, m.Name} }

// SetAdmin makes a server ready, drains it or takes it into maintenance. It is in
// force when SetAdmin returns, and kept over reloads and restarts until it is undone or
// the server leaves the file. An error that is not ErrUnknown means that it was not kept.
func (s *Service) SetAdmin(backend, server string, a table.Admin) error {
	return s.command(orderKey{backend, server}, a.String(), func(o *order) { o.Admin = a })
}

// SetWeight gives a server another weight than that of the file, 0 to 256, and
// -1 that of the file again. It is in force and kept as with SetAdmin.
func (s *Service) SetWeight(backend, server string, weight int) error {
	switch {
	case weight == fileWeight:
		return s.command(orderKey{backend, server}, "weight of the file", func(o *order) { o.Weight = nil })
	case weight < 0 || weight > maxWeight:
		return fmt.Errorf("server %s/%s: weight %d is not 0 to %d", backend, server, weight, maxWeight)
	}
	return s.command(orderKey{backend, server}, fmt.Sprintf("weight %d", weight), func(o *order) { o.Weight = &weight })
}

// command changes the order of one server.
func (s *Service) command(k orderKey, what string, change func(*order)) error {
	news, err := s.enact(k, change)
	if err != nil || news == nil {
		return err
	}
	s.host.Log.Info("server ordered", "server", k.String(), "order", what)
	s.host.Events.Emit(timeline.Event{
		Kind: timeline.LBOrdered, Node: news.Config.Node, Addr: news.Address.Addr(),
		Detail: k.String() + ": " + what + ", by the administrator",
	})
	if err := s.save(k); err != nil {
		return fmt.Errorf("server %s: %s is in force and will not outlive a restart: %w", k, what, err)
	}
	return nil
}

// enact changes the order of a server in memory and obeys it; nil when that is no news.
func (s *Service) enact(k orderKey, change func(*order)) (*table.Member, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, m := s.table.Find(k.backend, k.server)
	if m == nil {
		return nil, s.unknown(k.String())
	}
	old := s.orders[k]
	o := old
	if change(&o); o.equal(old) && !s.unsaved[k] {
		return nil, nil
	}
	s.orders[k] = o
	if o.none() {
		delete(s.orders, k)
	}
	s.enforce(g, m, o)
	return m, nil
}

// enforce makes an order of a server of the table in force true. The caller holds mu.
func (s *Service) enforce(g *table.Group, m *table.Member, o order) {
	was := m.Admin()
	m.SetAdmin(o.Admin)
	m.Override(o.weight())
	now := time.Now()
	if was != o.Admin && s.serving != nil {
		s.monitor.Apply(s.serving, s.table) // begins or ends its checks
	}
	if was != table.Maint && o.Admin == table.Maint && g.Checked(m) && m.Watched() {
		m.Set(table.Starting, now) // nobody knows how it is, until it is checked again
	}
	g.Update(now)
	if !g.AnyUp() {
		s.monitor.Hurry(g, nil) // those that are not ready may answer on the fallback path
	}
}

// obey makes the orders true for the servers of a table that is not in force yet.
// The caller holds mu.
func (s *Service) obey(t *table.Table) {
	for _, g := range t.Groups {
		for i := range g.Members {
			m := &g.Members[i]
			if o, ok := s.orders[keyOf(m)]; ok {
				m.SetAdmin(o.Admin)
				m.Override(o.weight())
			}
		}
	}
}

// ordered reminds of the orders in force; empty: there are none. The caller holds mu.
func (s *Service) ordered() string {
	var list []string
	for m := range s.table.Members() {
		if o, ok := s.orders[keyOf(m)]; ok {
			list = append(list, keyOf(m).String()+" "+o.String())
		}
	}
	if list == nil {
		return ""
	}
	return "by order of the administrator: " + some(list) + "; `helperd lb ready` takes an order back"
}

// forget drops the orders of servers that left the file, and says so: when one comes back, it
// takes connections. The caller holds mu.
func (s *Service) forget(t *table.Table) {
	var gone []orderKey
	for k, o := range s.orders {
		if _, m := t.Find(k.backend, k.server); m != nil {
			continue
		}
		gone = append(gone, k)
		delete(s.orders, k)
		s.host.Log.Info("order forgotten: the server is not in the file any more", "server", k.String(), "order", o.String())
		e := timeline.Event{Kind: timeline.LBOrdered, Detail: k.String() + ": " + o.String() + " is forgotten: the server is not in the file any more"}
		if _, m := s.table.Find(k.backend, k.server); m != nil {
			e.Node, e.Addr = m.Config.Node, m.Address.Addr()
		}
		s.host.Events.Emit(e)
	}
	if len(gone) == 0 {
		return
	}
	s.host.Guard.Go("lb forget", func() {
		if err := s.save(gone...); err != nil {
			s.host.Log.Warn("orders of servers that left the file stay on disk until the next change", "err", err)
		}
	})
}

// save writes what is in force for some servers.
func (s *Service) save(keys ...orderKey) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	err := s.write(keys)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		if delete(s.unsaved, k); err != nil {
			s.unsaved[k] = true
		}
	}
	return err
}

func (s *Service) write(keys []orderKey) error {
	all := map[string][]byte{}
	s.mu.Lock()
	for _, k := range keys {
		all[k.String()] = nil
		if o, ok := s.orders[k]; ok {
			b, err := json.Marshal(o)
			if err != nil {
				s.mu.Unlock()
				return err
			}
			all[k.String()] = b
		}
	}
	s.mu.Unlock()
	return s.host.Store.PutOrders(all)
}

// restore reads the orders of the time before this start.
func (s *Service) restore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.orders != nil {
		return nil
	}
	stored, err := s.host.Store.Orders()
	if err != nil {
		return fmt.Errorf("read what was ordered of servers: %w", err)
	}
	s.orders = map[orderKey]order{}
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		backend, server, _ := strings.Cut(name, "/")
		var o order
		if err := json.Unmarshal(stored[name], &o); err != nil {
			s.host.Log.Warn("an order of a server cannot be read and is not obeyed; give it again", "server", name, "err", err)
			continue
		}
		s.orders[orderKey{backend, server}] = o
	}
	return nil
}
