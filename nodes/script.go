package nodes

import (
	"crypto/rand"
	"net/netip"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

// Script is the decision for one boot.
type Script struct {
	Disk  bool   // boot from the local disk
	Token string // for the ignition URL; empty: the asking address is not proven
}

// Boot decides what n's boot script says to the machine at addr.
func (r *Registry) Boot(n *plan.Node, addr netip.Addr) Script {
	proven := r.Proven(n, addr)
	defer r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	s, now := r.get(n), r.now()
	// Who asks again after the phase has changed has booted anew, however soon.
	if !r.sameBoot(s) || s.DecidedIn != s.Phase {
		r.decide(s, n)
		s.First = now
	}
	if s.Phase == Installing {
		// What the last script does not carry must not be asked for: it would lock
		// the node out, and its address alone speaks for it then.
		switch {
		case !proven:
			s.Token = ""
		case s.Token == "":
			s.Token = rand.Text()
		}
	}
	s.Decided, s.DecidedIn = now, s.Phase
	r.save(s)
	if s.Disk || !proven {
		return Script{Disk: s.Disk}
	}
	return Script{Token: s.Token}
}

// sameBoot reports whether a machine that asks now is still in the boot of s's last decision.
func (r *Registry) sameBoot(s *State) bool {
	now := r.now()
	return now.Sub(s.Decided) <= settle && now.Sub(s.First) <= oneBoot
}

// justSent reports whether s's node was sent to its disk so lately that its coming back is a failure.
// In doubt it is not, for that would wipe a disk: when the clock was set back, and when the balancer
// is another one, past which no system is seen before its first restart.
func (r *Registry) justSent(s *State) bool {
	if p := r.plan.Load(); p != nil && !p.LB.Enabled {
		return false
	}
	age := r.now().Sub(s.Since)
	return age >= 0 && age < failedWithin
}

func (r *Registry) decide(s *State, n *plan.Node) {
	failed, refused := "", ""
	switch s.Phase {
	case Protected:
		if r.protected(s, n) {
			refused = "nothing is known of its installation, and " + s.Protection + ": it is not installed and sent to its disk; " +
				"if it is to be installed, `helperd nodes reinstall " + n.Name + "`"
			break
		}
		s.Protection = ""
		r.begin(s)
		r.enter(s, Installing)
	case Written:
		r.enter(s, DiskBoot)
	case DiskBoot:
		if !r.justSent(s) {
			break
		}
		if s.Retries >= maxRetries {
			failed = "booted from the network again " + r.now().Sub(s.Since).Round(time.Second).String() +
				" after its disk, and the retry is spent; it is sent to its disk; look at its console, then `helperd nodes reinstall " + n.Name + "`"
			break
		}
		s.Retries++
		failed = "booted from the network again instead of from its disk: the installation did not take; installing once more; check install_disk and the boot order"
		r.begin(s)
		r.enter(s, Installing)
	case Armed:
		r.begin(s)
		r.enter(s, Installing)
	case Installing:
		// The last attempt broke off: all starts again with a new token.
		r.begin(s)
	}
	s.Disk = s.Phase == DiskBoot || s.Phase == Installed || s.Phase == Protected
	what := timeline.ScriptInstall
	if s.Disk {
		what = timeline.ScriptDisk
	}
	r.events.Emit(timeline.Event{Kind: timeline.BootScript, Node: n.FQDN, Detail: what})
	if failed != "" { // after the script, with which a new story may begin
		r.events.Emit(timeline.Event{Kind: timeline.BootFailed, Node: n.FQDN, Detail: failed})
	}
	if refused != "" {
		r.events.Emit(timeline.Event{Kind: timeline.BootRefused, Node: n.FQDN, Detail: refused})
	}
}

// begin makes s ready for an installation from its beginning.
func (r *Registry) begin(s *State) {
	s.Token, s.TokenEnd = "", time.Time{}
	s.RootfsDone, s.IgnitionDone, s.Ordered = false, false, false
}
