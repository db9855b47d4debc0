// Package nodes owns what is known of a node beyond the file: whether it is to
// be installed or boots its disk, the token that lets it fetch its ignition,
// and the address that DHCP proved to be its own. It survives restarts.
//
// Boot once: a complete fetch of rootfs and ignition earns a node one boot from
// its disk. Installed is a node only when its system is seen. A network boot
// within 15 minutes of a disk boot without that evidence is a failed
// installation, which is tried once more.
package nodes

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"helperd/plan"
	"helperd/state"
	"helperd/timeline"
)

// Phase of a node's installation.
type Phase string

// The phases.
const (
	Armed      Phase = "armed"      // the next network boot installs
	Installing Phase = "installing" // an install script was handed out
	Written    Phase = "written"    // rootfs and ignition were fetched whole
	DiskBoot   Phase = "disk-boot"  // was sent to its disk, not yet seen
	Installed  Phase = "installed"  // its system was seen
)

const (
	// settle is how long one boot asks for its script: firmware tries several
	// names, and a loader asks again. All get the same answer.
	settle = 30 * time.Second
	// oneBoot bounds the above: a machine whose disk does not boot may be back every few seconds.
	oneBoot = 2 * time.Minute
	// failedWithin is the time in which a network boot after a disk boot is a failed installation.
	failedWithin = 15 * time.Minute
	// proofHolds is how long a DHCP answer proves that an address is a MAC's.
	proofHolds = 15 * time.Minute
	// tokenAfterGet is how long a token serves after the first complete GET of the ignition file.
	tokenAfterGet = 10 * time.Minute
	maxRetries    = 1
)

// State is what is known of one node.
type State struct {
	Node     string     `json:"node"`
	MACs     []plan.MAC `json:"macs,omitempty"`
	Phase    Phase      `json:"phase"`
	Since    time.Time  `json:"since,omitzero"`
	Retries  int        `json:"retries,omitempty"`  // failed installations since armed
	Evidence string     `json:"evidence,omitempty"` // what showed the installed system

	Token    string    `json:"token,omitempty"`
	TokenEnd time.Time `json:"token_end,omitzero"` // zero: no end yet
	GateEnd  time.Time `json:"gate_end,omitzero"`  // a person vouches for its address until then
	ISOToken string    `json:"iso_token,omitempty"`
	ISOEnd   time.Time `json:"iso_end,omitzero"`

	RootfsDone   bool      `json:"rootfs_done,omitempty"`
	IgnitionDone bool      `json:"ignition_done,omitempty"`
	Decided      time.Time `json:"decided,omitzero"`     // when a boot script was last asked for
	DecidedIn    Phase     `json:"decided_in,omitempty"` // the phase that the decision led to
	First        time.Time `json:"first,omitzero"`       // when it was first asked for in the same boot
	Disk         bool      `json:"disk,omitempty"`       // what it said
	Ordered      bool      `json:"ordered,omitempty"`    // a person armed the node; its old system may still run
}

// Registry knows all nodes.
type Registry struct {
	store  *state.Store
	events *timeline.Timeline
	log    *slog.Logger
	now    func() time.Time

	mu    sync.Mutex // is held over writes to the disk
	nodes map[string]*State

	proofsMu sync.Mutex // is not, so that DHCP never waits
	proofs   map[plan.MAC]proof
	holders  map[netip.Addr]plan.MAC // who has a proof of an address: one MAC, the last
}

// New reads what is known from store.
func New(store *state.Store, events *timeline.Timeline, log *slog.Logger, now func() time.Time) (*Registry, error) {
	r := &Registry{store: store, events: events, log: log, now: now, nodes: map[string]*State{}, proofs: map[plan.MAC]proof{}, holders: map[netip.Addr]plan.MAC{}}
	stored, err := store.Nodes()
	if err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	for fqdn, b := range stored {
		s := &State{}
		if err := json.Unmarshal(b, s); err != nil {
			return nil, fmt.Errorf("read node %s from the state file: %w; move helperd.db away to start without it: it forgets pool leases and which nodes are installed", fqdn, err)
		}
		r.nodes[fqdn] = s
		switch s.Phase {
		case Written, DiskBoot:
			events.Resume(fqdn, timeline.Ignition, s.Since)
		case Installed:
			events.Resume(fqdn, timeline.Installed, s.Since)
		}
	}
	return r, nil
}

func (r *Registry) get(n *plan.Node) *State {
	s := r.nodes[n.FQDN]
	if s == nil || replaced(s.MACs, n.MACs) {
		s = &State{Node: n.FQDN, Phase: Armed, Since: r.now()}
		r.nodes[n.FQDN] = s
	}
	s.MACs = n.MACs
	return s
}

// replaced reports whether another machine has taken a node's name: nothing of
// what is known of the old one holds for it.
func replaced(old, now []plan.MAC) bool {
	return len(old) > 0 && len(now) > 0 && !slices.ContainsFunc(old, func(m plan.MAC) bool { return slices.Contains(now, m) })
}

// save stores s. A failure is logged and not fatal: the node goes on, and only a restart could forget it.
func (r *Registry) save(s *State) {
	b, err := json.Marshal(s)
	if err == nil {
		err = r.store.PutNode(s.Node, b)
	}
	if err != nil {
		r.log.Error("state of a node not stored; a restart forgets it", "node", s.Node, "err", err)
	}
}

func (r *Registry) enter(s *State, p Phase) {
	s.Phase, s.Since = p, r.now()
}

// CheckToken says whether token lets n have its ignition. A node that was
// never handed a token needs none: its address speaks for it.
func (r *Registry) CheckToken(n *plan.Node, token string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.get(n)
	switch {
	case s.Token == "":
		return nil
	case !same(token, s.Token):
		return fmt.Errorf("token is missing or not the one of the last boot script; boot %s from the network again", n.Name)
	case !s.TokenEnd.IsZero() && r.now().After(s.TokenEnd):
		return fmt.Errorf("token was used %s ago and has expired; boot %s from the network again", r.now().Sub(s.TokenEnd.Add(-tokenAfterGet)).Round(time.Second), n.Name)
	}
	return nil
}

// RootfsFetched notes that n fetched its rootfs or metal image whole.
func (r *Registry) RootfsFetched(n *plan.Node) { r.fetched(n, func(s *State) { s.RootfsDone = true }) }

// IgnitionFetched notes that n fetched its ignition file whole.
func (r *Registry) IgnitionFetched(n *plan.Node) {
	r.fetched(n, func(s *State) {
		s.IgnitionDone = true
		if s.TokenEnd.IsZero() {
			s.TokenEnd = r.now().Add(tokenAfterGet)
		}
	})
}

func (r *Registry) fetched(n *plan.Node, note func(*State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.get(n)
	if s.Phase != Installing {
		return
	}
	note(s)
	if s.RootfsDone && s.IgnitionDone {
		r.enter(s, Written)
	}
	r.save(s)
}

// Seen notes evidence of n's installed system, such as "connected to 22623".
// Right after an order to install, evidence is of the old system or of the
// installer. Later it counts: the node was installed in another way.
func (r *Registry) Seen(n *plan.Node, evidence string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.get(n)
	installer := s.Phase == Installing && r.now().Sub(s.Decided) < failedWithin
	if s.Phase == Installed || installer || s.Phase == Armed && s.Ordered {
		return
	}
	r.enter(s, Installed)
	s.Evidence, s.Retries = evidence, 0
	r.save(s)
	r.events.Emit(timeline.Event{Kind: timeline.NodeInstalled, Node: n.FQDN, Detail: evidence})
}

// State gives what is known of n. The tokens are left out.
func (r *Registry) State(n *plan.Node) State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := *r.get(n)
	s.Token, s.ISOToken = "", ""
	return s
}
