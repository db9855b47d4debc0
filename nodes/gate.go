package nodes

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"helperd/plan"
)

// ErrNotYet is in the chain of a refusal that passes: the installer is to ask again. Without it the
// machine asks for what is not its own.
var ErrNotYet = errors.New("not yet")

// refusal says to a person why a machine does not get its ignition file.
type refusal struct {
	text   string
	notYet bool
}

func (r *refusal) Error() string { return r.text }

func (r *refusal) Is(target error) bool { return r.notYet && target == ErrNotYet }

func notYet(format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), true}
}

// Admit says why the machine at addr, an address of n, may not have n's ignition file now; nil: it
// may. It changes nothing.
//
// A token that matches is a proof of DHCP's: it was told only to the address that DHCP gave to a
// MAC of n. A node that was told none must be one by the neighbour table, or by DHCP since. A gate
// that a person opened asks for no proof.
func (r *Registry) Admit(n *plan.Node, addr netip.Addr, token string) error {
	r.mu.Lock()
	s, now := *r.get(n), r.now()
	iso := r.isoOpen(&s) && same(token, s.ISOToken)
	r.mu.Unlock()
	over := s.over(now)
	switch {
	case !over && (iso || !now.After(s.GateEnd)):
		return nil
	case s.Token != "" && !same(token, s.Token):
		return fmt.Errorf("token is missing or not the one of the last boot script; boot %s from the network again", n.Name)
	case s.Token != "" && over:
		return fmt.Errorf("token was used %s ago and has expired; boot %s from the network again", now.Sub(s.TokenEnd.Add(-tokenAfterGet)).Round(time.Second), n.Name)
	case s.Token != "":
		return nil
	case !s.installing(now):
		return notYet("%s is not being installed (%s): %s", n.Name, s.Phase, toInstall(&s, n))
	}
	return r.prove(n, addr)
}

// installing reports whether s's node may be fetching its ignition file: it was told to install
// itself, and a first complete fetch is not ten minutes ago.
func (s *State) installing(now time.Time) bool {
	switch s.Phase {
	case Installing:
		return !s.over(now)
	case Written, DiskBoot:
		return !s.TokenEnd.IsZero() && !s.over(now)
	}
	return false
}

// over reports whether the time after the first complete fetch has passed.
func (s *State) over(now time.Time) bool { return !s.TokenEnd.IsZero() && now.After(s.TokenEnd) }

// toInstall says how a node that is not being installed comes to be.
func toInstall(s *State, n *plan.Node) string {
	if s.Phase == Armed || s.Phase == Installing {
		return fmt.Sprintf("it has not asked for its boot script; boot it from the network, or if it boots in another way, `helperd nodes arm %s`", n.Name)
	}
	return fmt.Sprintf("`helperd nodes reinstall %s` and boot it from the network, or if it boots in another way, `helperd nodes arm %s`", n.Name, n.Name)
}

// prove says why nobody knows that addr is n's; nil: it is.
func (r *Registry) prove(n *plan.Node, addr netip.Addr) error {
	macs := r.neighbours(addr)
	for _, m := range macs {
		if !owns(n, m) {
			return notYet("%s is at the machine with MAC %s, which is none of %s; add it to the node's `mac` if it is a card of that machine, or `helperd nodes arm %s`", addr, m, n.Name, n.Name)
		}
	}
	if len(macs) > 0 || r.Proven(n, addr) {
		return nil
	}
	return notYet("nobody proves that %s is %s: our DHCP did not give it the address in the last 15 minutes, and it is behind a router; "+
		"let it ask our DHCP, or `helperd nodes arm %s` and it is served", addr, n.Name, n.Name)
}
