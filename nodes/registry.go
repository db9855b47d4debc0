package nodes

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"helperd/ignition"
	"helperd/internal/guard"
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
	Protected  Phase = "protected"  // nothing is known of it, and its cluster lives: a person must order
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
	Protection   string    `json:"protection,omitempty"` // why it is protected
}

// FirstBoot is the evidence of a system that configures itself: Ignition alone
// connects to the machine config server, once, and no system that was there before.
const FirstBoot = "connected to 22623 (machine config server)"

// Registry knows all nodes.
type Registry struct {
	// Neighbours gives who has an address on the networks of this machine, by the
	// kernel's table: nobody, if a router is between. Tests have a table of their own.
	Neighbours func(netip.Addr) ([]plan.MAC, error)
	// Ignition reads ignition files, for those who serve them too.
	Ignition *ignition.Store

	store  *state.Store
	events *timeline.Timeline
	log    *slog.Logger
	now    func() time.Time
	plan   atomic.Pointer[plan.Plan]                  // that is served
	lives  func(context.Context, *plan.Cluster) bool  // answers, or what a test has instead
	speaks func(context.Context, netip.AddrPort) bool // speaksTLS, likewise

	mu        sync.Mutex
	nodes     map[string]*State
	dirty     map[string]*State        // to be stored, by name
	stateless bool                     // started without state, and no plan was applied yet
	asked     map[string]chan struct{} // clusters of which is not known yet whether they live, by zone; closed when it is
	started   time.Time                // without state; zero: with it

	asking *guard.Group // the questions to clusters

	storing sync.Mutex // is held over writes to the disk; before mu, if both

	proofsMu sync.Mutex // is not, so that DHCP never waits
	proofs   map[proofKey]proof
	holders  map[[16]byte]plan.MAC // who has a proof of an address: one MAC, the last
	made     time.Time             // of the registry

	clocks clocks
}

// New reads what is known from store.
func New(store *state.Store, events *timeline.Timeline, log *slog.Logger, now func() time.Time) (*Registry, error) {
	r := &Registry{
		Neighbours: neighbours, Ignition: ignition.New(now),
		store: store, events: events, log: log, now: now, speaks: speaksTLS,
		nodes: map[string]*State{}, dirty: map[string]*State{}, asked: map[string]chan struct{}{}, proofs: map[proofKey]proof{}, holders: map[[16]byte]plan.MAC{}, made: now(),
	}
	r.lives, r.asking = r.answers, r.guard()
	stored, err := store.Nodes()
	if err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	r.stateless = len(stored) == 0
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

// get gives the state of n; the caller has the lock. Who asks may have n from an
// earlier plan: its MACs there must not look like another machine's.
func (r *Registry) get(n *plan.Node) *State {
	macs := n.MACs
	if p := r.plan.Load(); p != nil {
		if now := p.NodeByName(n.FQDN); now != nil {
			macs = now.MACs
		}
	}
	s := r.nodes[n.FQDN]
	if s == nil || replaced(s.MACs, macs) {
		s = &State{Node: n.FQDN, Phase: Armed, Since: r.now()}
		r.nodes[n.FQDN] = s
	}
	s.MACs = macs
	return s
}

// replaced reports whether another machine has taken a node's name: nothing of
// what is known of the old one holds for it.
func replaced(old, now []plan.MAC) bool {
	return len(old) > 0 && len(now) > 0 && !slices.ContainsFunc(old, func(m plan.MAC) bool { return slices.Contains(now, m) })
}

func (r *Registry) enter(s *State, p Phase) {
	s.Phase, s.Since = p, r.now()
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
	defer r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.get(n)
	if s.Phase == Armed && (!r.now().After(s.GateEnd) || r.isoOpen(s)) {
		// It booted without a script of ours: what it writes to its disk came with it.
		r.enter(s, Installing)
		s.RootfsDone, s.Ordered = true, false
	}
	if s.Phase != Installing {
		return
	}
	note(s)
	wanted := n.Boot == nil || n.Boot.Ignition != ""
	if s.RootfsDone && (s.IgnitionDone || !wanted) {
		r.enter(s, Written)
	}
	r.save(s)
}

// Seen notes evidence of n's installed system: FirstBoot, or such as "its 6443 answers".
// Right after an order to install, evidence is of the old system or of the
// installer. Later it counts: the node was installed in another way.
func (r *Registry) Seen(n *plan.Node, evidence string) {
	defer r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.get(n)
	installer := s.Phase == Installing && r.now().Sub(s.Decided) < failedWithin
	old := s.Phase == Armed && s.Ordered && evidence != FirstBoot
	if s.Phase == Installed || installer || old {
		return
	}
	*s = State{Node: s.Node, MACs: s.MACs, Evidence: evidence} // no token and no open gate outlives the installation
	r.enter(s, Installed)
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
