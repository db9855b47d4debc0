package rig

import (
	"testing"

	"helperd/internal/netns"
)

// Dev is the network device of every machine.
const Dev = "eth0"

// A Machine is a namespace on the LAN: commands run in it are the machine's.
type Machine struct {
	*netns.NS
	Node Node // its name is empty for a machine of no list

	rig *Rig
}

// Machine gives the node of that name a namespace with its MAC and address,
// as if its system were running. One node has one machine at a time.
func (r *Rig) Machine(t testing.TB, name string) *Machine {
	t.Helper()
	m := r.Blank(t, name)
	n := r.network(m.Node.IP)
	m.Up(t, Dev, n.address(m.Node.IP))
	m.IP(t, "route", "add", "default", "via", n.Gateway)
	return m
}

// Blank is Machine without an address, as before DHCP.
func (r *Rig) Blank(t testing.TB, name string) *Machine {
	t.Helper()
	return r.plug(t, r.Site.Node(t, name))
}

// Stranger is a machine that is in no list, without an address.
func (r *Rig) Stranger(t testing.TB, mac string) *Machine {
	t.Helper()
	return r.plug(t, Node{MAC: mac})
}

// Neighbour is a machine that is in no list and has an address of a LAN.
func (r *Rig) Neighbour(t testing.TB, mac, ip string) *Machine {
	t.Helper()
	m := r.plug(t, Node{MAC: mac, IP: ip})
	m.Up(t, Dev, r.network(ip).address(ip))
	return m
}

// Outsider is a machine with an address that is in no network of the file.
func (r *Rig) Outsider(t testing.TB) *Machine {
	t.Helper()
	m := r.plug(t, Node{MAC: "52:54:00:99:00:05", IP: "10.99.0.5"})
	m.Up(t, Dev, m.Node.IP+"/24")
	m.IP(t, "route", "add", r.Address, "dev", Dev)
	return m
}

func (r *Rig) plug(t testing.TB, n Node) *Machine {
	t.Helper()
	m := &Machine{NS: netns.New(t), Node: n, rig: r}
	port, dev := netns.Link(t, r.Router, m.NS, "", "")
	if dev != Dev {
		t.Fatalf("the machine's device is %s, want %s", dev, Dev)
	}
	m.IP(t, "link", "set", Dev, "down")
	m.IP(t, "link", "set", Dev, "address", n.MAC)
	m.IP(t, "link", "set", Dev, "up")
	r.Router.IP(t, "link", "set", port, "master", r.network(n.IP).bridge, "up")
	return m
}
