package plan

import (
	"net/netip"
	"path/filepath"
	"slices"
)

// TFTP is what the TFTP server serves. Boot files per node are rendered from
// Nodes by package boot; loaders are found by package boot.
type TFTP struct {
	Enabled bool
	Listen  []netip.AddrPort
	Root    string // folder with files of the user's own; empty: none
	Files   []File
	MTU     int // smallest MTU of the networks in bytes; 0: no network declares one, and 1500 holds
}

// FTP is what the FTP server serves: the files of the web server, but for ignition files.
type FTP struct {
	Enabled bool
	Listen  []netip.AddrPort
	Root    string // folder with files of the user's own; empty: none
	Listing bool
	// PassivePorts are those of data connections.
	PassivePorts PortRange
	Files        []File
	// Machines are served: the machine networks.
	Machines []netip.Prefix
}

// PortRange is the ports from First to Last.
type PortRange struct{ First, Last uint16 }

// HTTP is what the web server serves.
type HTTP struct {
	Enabled  bool
	Listen   []netip.AddrPort
	Root     string
	Listing  bool
	Files    []File
	Ignition []Ignition
	ISOs     []ISO
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

// Ignition is one role's ignition file of one cluster, or the same for one node alone.
type Ignition struct {
	Path    string // URL path, such as /ignition/ocp4.example.com/master.ign, or worker-0.ign for one node
	File    string // path on this machine: of the role's file
	Cluster string // zone of the cluster
	Role    Role
	Nodes   []*Node // who may have it
	Open    bool    // gate open: any machine of the networks may have it
	Expired bool    // serve it although its certificates have expired
	// Node is whose name and network are merged into it; nil: it is the role's as it is.
	Node     *Node
	Keyfiles []Keyfile // of Node
}

// Keyfile is a connection of NetworkManager (nm-settings-keyfile(5)).
type Keyfile struct{ Name, Content string }

// Own is the path on this machine of the file that n gets in place of the role's, when it
// exists; empty: n has the name of a role, whose file it would be.
func (i *Ignition) Own(n *Node) string {
	if slices.Contains(roles, Role(n.Name)) {
		return ""
	}
	return filepath.Join(filepath.Dir(i.File), n.Name+".ign")
}

// Bootstrap is the path on this machine of the bootstrap machine's file, whose certificates tell how
// old the cluster is. It lies there also when that machine has left the configuration.
func (i *Ignition) Bootstrap() string {
	return filepath.Join(filepath.Dir(i.File), string(Bootstrap)+".ign")
}

// ISO is the live ISO of one node: that of its artifact, with kernel arguments
// and ignition file written into it.
type ISO struct {
	Path     string // URL path, such as /iso/worker-0.ocp4.example.com.iso
	Node     *Node
	Base     *File     // of the artifact
	Args     []string  // kernel arguments, which are appended to those that the ISO has
	Ignition *Ignition // nil: the cluster has none
	// Problem says why there is none, and what to do; empty: there is one.
	Problem string
}
