package nodes

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

const (
	// gateFor is how long a person opens the gate of a node whose address nobody proves.
	gateFor = time.Hour
	// isoFor is how long the token of an ISO serves: a virtual drive is attached, and the machine is switched on later.
	isoFor = 24 * time.Hour
)

// Reinstall makes the next network boot of n install it again.
func (r *Registry) Reinstall(n *plan.Node) {
	defer r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.save(r.order(n))
	r.events.Emit(timeline.Event{Kind: timeline.NodeArmed, Node: n.FQDN, Detail: "its next network boot installs it"})
}

// order forgets all of n but that it is to be installed.
func (r *Registry) order(n *plan.Node) *State {
	s := r.get(n)
	*s = State{Node: s.Node, MACs: s.MACs, Ordered: true}
	r.enter(s, Armed)
	return s
}

// Arm opens the gate of n's ignition file to its address alone for an hour, or until ten minutes
// after it was fetched: a person vouches for the address, which neither our DHCP nor the neighbour
// table can prove. A node that is not being installed is ordered to be, too. It gives when the gate
// closes.
func (r *Registry) Arm(n *plan.Node) time.Time {
	defer r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.get(n)
	if s.Phase != Installing && !(s.Phase == Armed && (s.Ordered || r.isoOpen(s))) {
		s = r.order(n)
	}
	s.GateEnd, s.TokenEnd = r.now().Add(gateFor), time.Time{}
	r.save(s)
	r.events.Emit(timeline.Event{
		Kind: timeline.NodeArmed, Node: n.FQDN,
		Detail: "whoever has its address may fetch its ignition file until " + s.GateEnd.Format(time.TimeOnly),
	})
	return s.GateEnd
}

// ISOToken orders n to be installed from an ISO, and gives the token that lets the ISO, and with it
// the cluster's secrets, be fetched. It serves for 24 hours or until n is installed; asking again
// prolongs it, or gives another when the ignition file was fetched with it ten minutes ago.
func (r *Registry) ISOToken(n *plan.Node) string {
	defer r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.get(n)
	if !r.isoOpen(s) || s.over(r.now()) {
		ran := s.Ordered || s.Phase != Armed && s.Phase != Installing
		s = r.order(n)
		s.Ordered = ran // without an old system all that answers is the new one
		s.ISOToken = rand.Text()
		r.events.Emit(timeline.Event{Kind: timeline.NodeArmed, Node: n.FQDN, Detail: "its ISO may be fetched for 24 hours"})
	}
	s.ISOEnd = r.now().Add(isoFor)
	r.save(s)
	return s.ISOToken
}

// CheckISOToken says why token does not open the ISO of n; nil: it does.
func (r *Registry) CheckISOToken(n *plan.Node, token string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch s := r.get(n); {
	case !r.isoOpen(s):
		return fmt.Errorf("no ISO of %s is waited for: it was made more than 24 hours ago, or the node is installed; make one with `helperd iso %s`", n.Name, n.Name)
	case !same(token, s.ISOToken):
		return fmt.Errorf("token is missing or not the one of the last ISO of %s; make one with `helperd iso %s`", n.Name, n.Name)
	}
	return nil
}

// isoOpen reports whether an ISO of s's node is waited for.
func (r *Registry) isoOpen(s *State) bool {
	return s.ISOToken != "" && s.Phase != Installed && !r.now().After(s.ISOEnd)
}

// same compares tokens in a time that tells nothing; an empty one is the same as none.
func same(token, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(token), []byte(want)) == 1
}
