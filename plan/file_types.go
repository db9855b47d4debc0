package plan

import "net/netip"

// TFTP is what the TFTP server serves. Boot files per node are rendered from
// Nodes by package boot; loaders are found by package boot.
type TFTP struct {
	Enabled bool
	Listen  []netip.AddrPort
	Root    string // folder with files of the user's own; empty: none
	Files   []File
	MTU     int // smallest MTU of the networks in bytes; 0: no network declares one, and 1500 holds
}

// HTTP is what the web server serves.
type HTTP struct {
	Enabled  bool
	Listen   []netip.AddrPort
	Root     string
	Listing  bool
	Files    []File
	Ignition []Ignition
	// Machines may fetch artifacts and scripts: the machine networks.
	Machines []netip.Prefix
	TLS      TLS
}

// TLS is how the same files are served by HTTPS beside HTTP.
type TLS struct {
	Listen []netip.AddrPort // empty: no HTTPS
	// Names and Addresses are what the server's certificate is good for.
	Names     []string
	Addresses []netip.Addr
}

// Ignition is one role's ignition file of one cluster.
type Ignition struct {
	Path    string // URL path, such as /ignition/ocp4.example.com/master.ign
	File    string // path on this machine
	Cluster string // zone of the cluster
	Role    Role
	Nodes   []*Node // who may have it
	Open    bool    // gate open: any machine of the networks may have it
	Expired bool    // serve it although its certificates have expired
}
