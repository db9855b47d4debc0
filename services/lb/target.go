package lb

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"helperd/internal/suggest"
	"helperd/plan"
	"helperd/services/lb/table"
)

// named is how many names an error suggests.
const named = 5

// Ordered says what was ordered.
type Ordered struct {
	Name    string      `json:"name"` // as it was asked for
	Admin   table.Admin `json:"admin"`
	Servers []string    `json:"servers"` // BACKEND/SERVER
	Active  int64       `json:"active"`  // connections that are open to these servers
	// Warnings are backends that take no connections any more, and what to do.
	Warnings []string `json:"warnings,omitempty"`
}

// Order does what a person wants of what target names: BACKEND/SERVER; a node, by
// its name or FQDN, in all backends that have it; or a server by its bare
// name when there is one machine of that name. Ready takes back all orders, also
// another weight.
func (s *Service) Order(target string, a table.Admin) (Ordered, error) {
	done := Ordered{Name: target, Admin: a}
	s.mu.Lock()
	t := s.table
	members, err := s.targets(target)
	s.mu.Unlock()
	if err != nil {
		return done, err
	}
	var errs []error
	for _, m := range members {
		errs = append(errs, s.SetAdmin(m.Backend, m.Name, a))
		if a == table.Ready {
			errs = append(errs, s.SetWeight(m.Backend, m.Name, fileWeight))
		}
		done.Servers = append(done.Servers, keyOf(m).String())
		done.Active += m.Active.Load()
	}
	for _, g := range t.Groups {
		if a != table.Ready && slices.ContainsFunc(members, func(m *table.Member) bool { return m.Backend == g.Name }) {
			if problem := lost(g); problem != "" {
				done.Warnings = append(done.Warnings, problem)
			}
		}
	}
	return done, errors.Join(errs...)
}

// targets gives the servers that a name stands for. The caller holds mu.
func (s *Service) targets(name string) ([]*table.Member, error) {
	if backend, server, ok := strings.Cut(name, "/"); ok {
		if _, m := s.table.Find(backend, server); m != nil {
			return []*table.Member{m}, nil
		}
		return nil, s.unknown(name)
	}
	nodes := map[*plan.Node][]*table.Member{} // the servers of every node that has the name
	strangers := map[netip.Addr]bool{}        // machines that are no node and have a server of that name
	var plain []*table.Member
	for m := range s.table.Members() {
		n := s.table.NodeAt(m.Address.Addr())
		switch {
		case n != nil && (n.Name == name || n.FQDN == name):
			nodes[n] = append(nodes[n], m)
		case m.Name == name:
			strangers[m.Address.Addr()] = true
			plain = append(plain, m)
		}
	}
	switch {
	case len(nodes)+len(strangers) == 0:
		return nil, s.unknown(name)
	case len(nodes)+len(strangers) > 1:
		return nil, ambiguous(name, nodes, plain)
	case len(plain) > 0:
		return plain, nil
	}
	for _, members := range nodes {
		plain = members
	}
	return plain, nil
}

// ambiguous names what a person may mean.
func ambiguous(name string, nodes map[*plan.Node][]*table.Member, plain []*table.Member) error {
	var names []string
	for n := range nodes {
		names = append(names, n.FQDN)
	}
	for _, m := range plain {
		names = append(names, keyOf(m).String())
	}
	slices.Sort(names)
	return fmt.Errorf("%q is the name of several machines; write one of %s", name, strings.Join(names, ", "))
}

// unknown says that there is no such server, and which are meant perhaps. The caller holds mu.
func (s *Service) unknown(name string) error {
	var words []string
	for m := range s.table.Members() {
		if strings.Contains(name, "/") {
			words = append(words, keyOf(m).String())
			continue
		}
		words = append(words, m.Name)
		if m.Config.Node != "" {
			words = append(words, m.Config.Node)
		}
	}
	near := suggest.Near(name, words)
	if len(near) == 0 {
		return fmt.Errorf("%w %q; `helperd lb` lists them", ErrUnknown, name)
	}
	return fmt.Errorf("%w %q; did you mean %s?", ErrUnknown, name, strings.Join(near[:min(len(near), named)], ", "))
}
