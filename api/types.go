// Package api is the admin API: JSON over HTTP on a unix socket, with
// server-sent events for what goes on. It holds the types that the command line prints
// with -o json, the server and the client.
package api

import (
	"net/netip"
	"time"

	"helperd/artifacts"
	"helperd/nodes"
	"helperd/plan"
	"helperd/services"
	"helperd/state"
	"helperd/timeline"
)

// Status is the state of the whole daemon.
type Status struct {
	Version       string        `json:"version"`
	PID           int           `json:"pid"`
	Started       time.Time     `json:"started"`
	Generation    uint64        `json:"generation"` // counts applied configurations; 0: none yet
	Configuration Configuration `json:"configuration"`
	Services      []Service     `json:"services"`
	// Unserved are parts of the file that this version does not serve.
	Unserved []Unserved `json:"unserved,omitempty"`
}

// Healthy reports whether every service does its work by the file as it is.
func (s *Status) Healthy() bool {
	for _, svc := range s.Services {
		if svc.State == services.Degraded {
			return false
		}
	}
	return s.Configuration.State == Applied
}

// Armed says how long the gate of a node's ignition file is open.
type Armed struct {
	Until time.Time `json:"until"`
}

// Ordered says what became of an order for servers of the balancer.
type Ordered struct {
	Name    string   `json:"name"`    // as it was asked for
	Order   string   `json:"order"`   // ready, drain or maint
	Servers []string `json:"servers"` // BACKEND/SERVER, in the order of the file
	Active  int64    `json:"active"`  // connections that are open to them
	// Warnings are backends that take no connections any more, and what to do.
	Warnings []string `json:"warnings,omitempty"`
}

// FileState says how the configuration file stands to what is served.
type FileState string

// The states of the file.
const (
	Applied  FileState = "applied"  // it is what is served
	Broken   FileState = "broken"   // it has mistakes; the last good one is served
	Rejected FileState = "rejected" // it is valid and a service could not take it; the last good one is served
	Missing  FileState = "missing"  // it cannot be read; the last good one is served
	Waiting  FileState = "waiting"  // much vanished from it; applied in some seconds unless it changes again
)

// Configuration says what is served and how the file stands to it.
type Configuration struct {
	Path    string    `json:"path"`
	State   FileState `json:"state"`
	Hash    string    `json:"hash"` // SHA-256 of the configuration that is served, hex
	Applied time.Time `json:"applied,omitzero"`
	// Errors are what is wrong with the file as it is now, one a line: FILE:line:col: message.
	Errors   []string `json:"errors,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// Service is the state of one service.
type Service struct {
	Name string `json:"name"`
	services.Status
	LastError string `json:"last_error,omitempty"` // of the last check or panic
	Panics    uint64 `json:"panics,omitempty"`
}

// CA is the certificate of the helper's own authority.
type CA struct {
	Subject     string    `json:"subject"`
	Fingerprint string    `json:"fingerprint"` // SHA-256 of the certificate, hex
	NotAfter    time.Time `json:"not_after"`
	PEM         string    `json:"pem"`
}

// Unserved is a part of the file that this version does not serve.
type Unserved struct {
	Service string `json:"service"`
	Reason  string `json:"reason"`
}

// Node is what is known of one node.
type Node struct {
	Name     string         `json:"name"`
	FQDN     string         `json:"fqdn"`
	Cluster  string         `json:"cluster"`
	Role     plan.Role      `json:"role"`
	MACs     []plan.MAC     `json:"macs,omitempty"`
	IP       netip.Addr     `json:"ip,omitzero"`
	IP6      netip.Addr     `json:"ip6,omitzero"`
	Story    timeline.Story `json:"story"`
	Boot     nodes.State    `json:"boot"`
	Services []string       `json:"services,omitempty"` // the balancer's backends that the node is a server of, with its state there, such as "ocp4-api up"
}

// Lease is an address given out by DHCP.
type Lease struct {
	Kind string `json:"kind"` // pool or reservation
	Node string `json:"node,omitempty"`
	state.Lease
}

// Released are the leases that a person ended.
type Released struct {
	Leases []Lease `json:"leases"`
}

// Import is what became of the files of an import.
type Import struct {
	Files []artifacts.Imported `json:"files"`
	// Error is why the archive was not read to its end.
	Error string `json:"error,omitempty"`
}

// Error is the body of an answer that is not 2xx.
type Error struct {
	Error string `json:"error"`
}
