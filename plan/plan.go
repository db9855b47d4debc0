// Package plan derives, from one configuration, all that the services serve.
//
// It is where the product's knowledge of OpenShift lives: one node entry
// becomes records, a reservation, boot files, ignition rights and balancer
// servers. Compile is pure: no clock, no disk, no network. Services read a
// Plan and never compute what it could say.
package plan

import (
	"net/netip"
	"slices"

	"helperd/config"
)

// MAC is an Ethernet address.
type MAC = config.MAC

// UUID is that of a machine, in the order in which it is printed.
type UUID = config.UUID

// ClientID is option 61 of DHCP as bytes.
type ClientID = config.ClientID

// ParseMAC reads six hex bytes separated by colons or dashes.
func ParseMAC(s string) (MAC, error) { return config.ParseMAC(s) }

// A Plan says everything that is served. It is immutable once returned;
// services keep pointers into it.
type Plan struct {
	Helper   Helper
	Networks []Network
	Clusters []*Cluster
	Nodes    []*Node // of all clusters, in the order of the file
	Hosts    []Host

	// Artifacts are what nodes boot, one for each artifact and architecture.
	Artifacts []Artifact
	// Kept are versions of artifacts that no node is told to boot any more, and
	// that nodes in the middle of an installation may still need.
	Kept []*Set
	// Streams are where stream JSONs are to be read.
	Streams []StreamSource

	DNS   DNS
	DHCP  DHCP
	DHCP6 DHCP
	RA    RA
	TFTP  TFTP
	HTTP  HTTP
	FTP   FTP
	NTP   NTP
	LB    LB
	NFS   NFS
	Admin Admin

	// Unserved names what the file asks for and this version does not serve, with the reason.
	Unserved []Unserved

	// Filled by Compile; nil in a Plan that was put together by hand.
	byMAC  map[MAC]*Node
	byAddr map[netip.Addr]*Node
}

// Helper is the machine that helperd runs on.
type Helper struct {
	Name     string
	Address  netip.Addr
	Address6 netip.Addr // zero: none
}

// Addresses are the helper's addresses, IPv4 first.
func (h Helper) Addresses() []netip.Addr { return addresses(h.Address, h.Address6) }

// Network is a machine network.
type Network struct {
	Prefix    netip.Prefix
	Interface string // empty: the interface that holds an address in Prefix
	Gateway   netip.Addr
}

// Role of a node.
type Role string

// The roles.
const (
	Bootstrap Role = "bootstrap"
	Master    Role = "master"
	Worker    Role = "worker"
	Arbiter   Role = "arbiter"
)

var roles = []Role{Bootstrap, Master, Worker, Arbiter}

// Cluster is one OpenShift cluster.
type Cluster struct {
	Name    string
	Zone    string // NAME.DOMAIN, without a trailing dot
	Address netip.Addr
	Nodes   []*Node
}

// Node is one machine of a cluster.
type Node struct {
	Name    string
	FQDN    string // the node's key in events, state and metrics
	Cluster *Cluster
	Role    Role
	MACs    []MAC
	UUID    UUID     // zero: not known
	ID      ClientID // empty: not known
	IP      netip.Addr
	IP6     netip.Addr
	Arch    string
	Ingress bool
	Boot    *Boot // nil: the cluster boots nothing from here
}

// Host is a machine that is in no cluster.
type Host struct {
	Name string
	IP   netip.Addr
	IP6  netip.Addr
	MACs []MAC
	UUID UUID     // zero: not known
	ID   ClientID // empty: not known
}

// Addresses are the node's addresses, IPv4 first.
func (n *Node) Addresses() []netip.Addr { return addresses(n.IP, n.IP6) }

// Addresses are the host's addresses, IPv4 first.
func (h Host) Addresses() []netip.Addr { return addresses(h.IP, h.IP6) }

// addresses are those of as that were written.
func addresses(as ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(as, func(a netip.Addr) bool { return !a.IsValid() })
}

// NFS is checked and not served yet.
type NFS struct{ Exports []Export }

// Export is a folder that clients may mount.
type Export struct {
	Path    string
	Clients []netip.Prefix
}

// Admin says where people reach the daemon.
type Admin struct {
	Socket bool
	Listen netip.AddrPort // of the web pages
}

// Unserved is a part of the file that this version does not serve.
type Unserved struct {
	Service string // key of the file, such as "nfs"
	Reason  string
}

// index makes lookups by MAC and address independent of the number of nodes.
func (p *Plan) index() {
	p.byMAC, p.byAddr = map[MAC]*Node{}, map[netip.Addr]*Node{}
	for _, n := range p.Nodes {
		for _, m := range n.MACs {
			p.byMAC[m] = n
		}
		for _, a := range n.Addresses() {
			p.byAddr[a] = n
		}
	}
}

// NodeByMAC finds the node that owns m, or nil.
func (p *Plan) NodeByMAC(m MAC) *Node {
	if p.byMAC != nil {
		return p.byMAC[m]
	}
	for _, n := range p.Nodes {
		if slices.Contains(n.MACs, m) {
			return n
		}
	}
	return nil
}

// NodeByAddr finds the node that owns a, or nil.
func (p *Plan) NodeByAddr(a netip.Addr) *Node {
	a = a.Unmap()
	if p.byAddr != nil {
		return p.byAddr[a]
	}
	for _, n := range p.Nodes {
		if slices.Contains(n.Addresses(), a) {
			return n
		}
	}
	return nil
}

// NodeByName finds a node by its FQDN, or by its short name when only one cluster has it.
func (p *Plan) NodeByName(name string) *Node {
	var found *Node
	for _, n := range p.Nodes {
		if n.FQDN == name {
			return n
		}
		if n.Name == name {
			if found != nil {
				return nil
			}
			found = n
		}
	}
	return found
}
