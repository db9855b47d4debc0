package timeline

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Stage is how far a node has come.
type Stage string

// The stages in the order in which a node passes them.
const (
	Off       Stage = "off"
	DHCP      Stage = "dhcp"
	Loader    Stage = "loader"
	Kernel    Stage = "kernel"
	Rootfs    Stage = "rootfs"
	Ignition  Stage = "ignition"
	Installed Stage = "installed"
	Joining   Stage = "joining"
	Ready     Stage = "ready"
)

var order = []Stage{Off, DHCP, Loader, Kernel, Rootfs, Ignition, Installed, Joining, Ready}

// Story is what is known of one node's boot.
type Story struct {
	Node  string    `json:"node"`
	Stage Stage     `json:"stage"`
	Since time.Time `json:"since,omitzero"` // when the stage began
	// Passed are the stages of this boot with the time they were reached.
	Passed []Passed `json:"passed,omitempty"`
	// Progress is what is being fetched, such as "rootfs 43 %".
	Progress string `json:"progress,omitempty"`
	// Hint says why the node does not go on and what to do; empty: nothing is wrong.
	Hint string    `json:"hint,omitempty"`
	Last time.Time `json:"last,omitzero"` // when the node was seen last

	iso     bool   // its system came on an ISO
	trouble string // detail of the last trouble of this stage
	retries int
	resumed bool // from before the start of the daemon
}

// Passed is a stage that the node has reached.
type Passed struct {
	Stage Stage     `json:"stage"`
	At    time.Time `json:"at"`
}

// stageOf tells which stage an event proves; empty: none.
func stageOf(e *Event) Stage {
	switch e.Kind {
	case DHCPDiscover, DHCPOffer, DHCPAck:
		return DHCP
	case TFTPGet, FTPGet, HTTPGet:
		return fileStage(e)
	case ISOGet:
		return Rootfs
	case BootScript:
		if e.Detail == ScriptInstall {
			return Loader
		}
		return Ignition // its disk was written, now or long ago
	case IgnitionServed:
		return Ignition
	case NodeInstalled:
		return Installed
	case LBFirst:
		return Joining
	case LBUp:
		return Ready
	}
	return ""
}

func fileStage(e *Event) Stage {
	switch {
	case strings.HasSuffix(e.File, "/rootfs"), strings.HasSuffix(e.File, "/metal"):
		return Rootfs
	case strings.HasSuffix(e.File, "/kernel"), strings.HasSuffix(e.File, "/initramfs"):
		return Kernel
	}
	return Loader
}

// aboutFile reports whether a file that was asked for is the trouble, which says
// nothing about a system that runs.
func aboutFile(e *Event) bool {
	return e.Kind == TFTPFailed || e.Kind == FTPMiss || e.Kind == FTPFailed || e.Kind == HTTPMiss || e.Kind == HTTPFailed
}

func (s *Story) add(e *Event) {
	if e.Kind == NodeArmed { // a person has seen what is wrong; the node was not
		s.trouble, s.retries = "", 0
		return
	}
	if e.Kind == LBOrdered || e.Kind == LBRetired { // nor here
		if server, _, ok := strings.Cut(e.Detail, ": "); ok && e.Kind == LBRetired {
			s.recovered(server)
		}
		return
	}
	s.Last = e.Time
	now, was := slices.Index(order, stageOf(e)), slices.Index(order, s.Stage)
	if e.Trouble() {
		if was < slices.Index(order, Installed) || !aboutFile(e) {
			s.trouble = e.Detail
			s.retries++
		}
		return
	}
	switch e.Kind {
	case LBUp:
		s.recovered(e.Detail)
	case ClockRight:
		s.recovered("clock")
		return
	}
	if now < was {
		// Firmware asks for addresses, loaders and scripts at every boot, also on its
		// way to the disk, and an installed system fetches files too: only the
		// order to install begins a new story.
		if e.Kind != BootScript || e.Detail != ScriptInstall {
			return
		}
		s.Passed, s.resumed = nil, false
	}
	if now != was {
		s.Stage, s.Since, s.trouble, s.retries = order[now], e.Time, "", 0
		s.Passed = append(s.Passed, Passed{s.Stage, e.Time})
	}
	s.Progress, s.iso = "", s.iso && s.Stage == Rootfs || e.Kind == ISOGet
	if e.Total > 0 && e.Bytes < e.Total {
		what := string(s.Stage)
		if s.iso {
			what = "iso"
		}
		s.Progress = fmt.Sprintf("%s %d %%", what, e.Bytes*100/e.Total)
	}
}

// recovered forgets the trouble with a server, which is BACKEND/NAME, or with the clock.
func (s *Story) recovered(what string) {
	if strings.HasPrefix(s.trouble, what+": ") {
		s.trouble, s.retries = "", 0
	}
}

// patience is how long a stage may take before a hint is due.
var patience = map[Stage]time.Duration{
	DHCP: 30 * time.Second, Loader: time.Minute, Kernel: 2 * time.Minute, Rootfs: 2 * time.Minute,
	Ignition: 10 * time.Minute, Installed: 10 * time.Minute, Joining: 20 * time.Minute,
}

// advice says what usually keeps a node in a stage.
var advice = map[Stage]string{
	DHCP:      "it has an address and asks for no boot file: is network boot its first boot device?",
	Loader:    "the boot loader runs and asks for no kernel: look at its console",
	Kernel:    "kernel and initramfs are loaded and no rootfs is asked for: does the console show a kernel panic, and has the machine 4 GiB of memory?",
	Rootfs:    "the rootfs is fetched and no ignition is asked for: look at coreos-installer on its console, and at install_disk",
	Ignition:  "the disk is written and the node does not come back: is the disk its next boot device?",
	Installed: "the installed system is seen and does not reach api-int: look at its console",
	Joining:   "it talks to the API and no server of it is up in the balancer: see `oc get csr` and approve what is pending; a worker without a router stays here",
}

// A system on an ISO fetches nothing more: it is seen again when it is installed.
const (
	isoPatience = 20 * time.Minute
	isoAdvice   = "its ISO was fetched and its installed system is not seen yet: is the ISO its next boot device, and what does coreos-installer say on its console?"
)

// snapshot copies the story and works out the hint as of now.
func (s *Story) snapshot(now time.Time) Story {
	c := *s
	c.Passed = slices.Clone(s.Passed)
	limit, ok := patience[s.Stage]
	hint := advice[s.Stage]
	if s.iso {
		limit, hint = isoPatience, isoAdvice
	}
	ok = ok && !(s.resumed && slices.Index(order, s.Stage) >= slices.Index(order, Installed))
	switch {
	case s.trouble != "":
		c.Hint = s.trouble
		if s.retries > 1 {
			c.Hint = fmt.Sprintf("%s (%d times)", s.trouble, s.retries)
		}
	case ok && s.Progress != "" && now.Sub(s.Last) > 30*time.Second:
		c.Hint = fmt.Sprintf("%s stopped %s ago", s.Progress, now.Sub(s.Last).Round(time.Second))
	case ok && s.Progress == "" && now.Sub(s.Since) > limit:
		c.Hint = hint
	}
	return c
}
