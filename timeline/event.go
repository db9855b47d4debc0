// Package timeline joins what all services see of a node into one story: its
// stages from power-on to ready, and why it is stuck. The command line, the
// API and the web UI read this one model.
package timeline

import (
	"net/netip"
	"time"

	"helperd/plan"
)

// Kind of an event, as SERVICE.WHAT.
type Kind string

// The kinds. A comment says what Detail carries.
const (
	DHCPDiscover Kind = "dhcp.discover" // client kind, such as "iPXE BIOS"
	DHCPOffer    Kind = "dhcp.offer"    // boot file offered, if any
	DHCPAck      Kind = "dhcp.ack"      // boot file, if any
	DHCPNak      Kind = "dhcp.nak"      // reason
	DHCPDecline  Kind = "dhcp.decline"  // the client found the address in use
	DHCPConflict Kind = "dhcp.conflict" // a pool address is in use without a lease; MAC is who has it
	DHCPLimited  Kind = "dhcp.limited"  // somebody asks too fast and gets no answer
	DHCPRefused  Kind = "dhcp.refused"  // why the machine gets no answer, and what to do
	DHCPForeign  Kind = "dhcp.foreign"  // another DHCP server was heard; Addr and MAC are its own
	DHCPSite     Kind = "dhcp.site"     // the DHCP server beside which helperd is a proxy was heard; Addr and MAC are its own
	DHCPFailed   Kind = "dhcp.failed"   // an answer could not be given, such as a full pool or disk
	DHCPPool     Kind = "dhcp.pool"     // a pool fills: how full it is, and what to do
	DHCPReleased Kind = "dhcp.released" // a person ended the lease or the quarantine of Addr
	DHCPStored   Kind = "dhcp.stored"   // pool leases can be stored again
	RAForeign    Kind = "ra.foreign"    // another IPv6 router was heard: what it says; Addr and MAC are its own
	TFTPGet      Kind = "tftp.get"      // file; Bytes of Total
	TFTPMiss     Kind = "tftp.miss"     // file and why it is not there
	TFTPFailed   Kind = "tftp.failed"   // file; the transfer broke off
	FTPGet       Kind = "ftp.get"       // path; Bytes of Total
	FTPMiss      Kind = "ftp.miss"      // path and why it is not there
	FTPFailed    Kind = "ftp.failed"    // path; the transfer broke off
	HTTPGet      Kind = "http.get"      // path; Bytes of Total, complete when equal
	HTTPMiss     Kind = "http.miss"     // path and why it is not there
	HTTPFailed   Kind = "http.failed"   // path; the transfer broke off
	ISOGet       Kind = "iso.get"       // path; Bytes of Total; Node is whose ISO it is, Addr who fetches it
	BootScript   Kind = "boot.script"   // ScriptInstall or ScriptDisk
	BootRefused  Kind = "boot.refused"  // why the node boots nothing
	BootFailed   Kind = "boot.failed"   // the installation did not take

	IgnitionServed   Kind = "ignition.served"   // file
	IgnitionRefused  Kind = "ignition.refused"  // reason and remedy
	DNSFirst         Kind = "dns.first"         // first name the node asked for
	LBFirst          Kind = "lb.first"          // frontend that the node reached first
	LBUp             Kind = "lb.up"             // backend/server
	LBDown           Kind = "lb.down"           // backend/server and why
	LBRetired        Kind = "lb.retired"        // backend/server of bootstrap, why, and what to do
	LBRecalled       Kind = "lb.recalled"       // backend/server of bootstrap and why it is used again
	LBOrdered        Kind = "lb.ordered"        // backend/server and what a person wants of it
	LBRefused        Kind = "lb.refused"        // frontend, why it turned the connection away, and what to do
	ArtifactFetching Kind = "artifact.fetching" // path; Bytes of Total
	ArtifactReady    Kind = "artifact.ready"    // path; it is whole and verified
	ArtifactFailed   Kind = "artifact.failed"   // path, why, and what to do

	NodeInstalled  Kind = "node.installed"  // the evidence
	NodeArmed      Kind = "node.armed"      // what a person ordered
	ClockWrong     Kind = "clock.wrong"     // "clock: " and how far the node's is off, and what to do
	ClockRight     Kind = "clock.right"     // "clock: " and what is right again
	ConfigApplied  Kind = "config.applied"  // what changed
	ConfigRejected Kind = "config.rejected" // what is wrong, where
	ServicePanic   Kind = "service.panic"   // service and panic value
)

// What a boot script told a node.
const (
	ScriptInstall = "install"
	ScriptDisk    = "disk"
)

// An Event is something that was seen. Services fill in what they know;
// Emit adds time, sequence and, by MAC or address, the node.
type Event struct {
	Seq    uint64     `json:"seq"`
	Time   time.Time  `json:"time"`
	Kind   Kind       `json:"kind"`
	Node   string     `json:"node,omitempty"` // FQDN
	MAC    plan.MAC   `json:"mac,omitzero"`
	Addr   netip.Addr `json:"addr,omitzero"`
	Detail string     `json:"detail,omitempty"`
	File   string     `json:"file,omitempty"` // path that was asked for
	Bytes  int64      `json:"bytes,omitempty"`
	Total  int64      `json:"total,omitempty"`
	// Repeated counts further events of the same kind, node, address, MAC and
	// detail within a minute, which are folded into this one.
	Repeated int `json:"repeated,omitempty"`
}

// Trouble reports whether the event needs a person's attention.
func (e *Event) Trouble() bool {
	switch e.Kind {
	case DHCPNak, DHCPDecline, DHCPConflict, DHCPLimited, DHCPRefused, DHCPForeign, DHCPFailed, DHCPPool, RAForeign, TFTPFailed, FTPMiss, FTPFailed, HTTPMiss, HTTPFailed, BootRefused, BootFailed, ArtifactFailed,
		IgnitionRefused, LBDown, LBRefused, ClockWrong, ConfigRejected, ServicePanic:
		return true
	}
	return false
}
