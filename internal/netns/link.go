package netns

import (
	"fmt"
	"testing"
)

// Link joins two namespaces by a veth pair, up on both ends, and gives the
// names of its devices: eth0, eth1 and so on in the order of Link calls on
// that namespace. An address is as `ip address add` takes it, such as
// "192.0.2.1/24"; empty: none.
func Link(t testing.TB, a, b *NS, addrA, addrB string) (devA, devB string) {
	t.Helper()
	devA = a.next()
	devB = b.next()
	a.IP(t, "link", "add", "name", devA, "type", "veth", "peer", "name", devB, "netns", b.Name)
	a.Up(t, devA, addrA)
	b.Up(t, devB, addrB)
	return devA, devB
}

func (ns *NS) next() string {
	ns.links++
	return fmt.Sprintf("eth%d", ns.links-1)
}

// Up adds the addresses to a device and sets it up. Empty addresses are left out.
func (ns *NS) Up(t testing.TB, dev string, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		if addr != "" {
			ns.IP(t, "address", "add", addr, "dev", dev)
		}
	}
	ns.IP(t, "link", "set", dev, "up")
}

// Bridge makes a bridge that forwards at once (no spanning tree) with the
// ports, and sets it and them up. The address may be empty.
func (ns *NS) Bridge(t testing.TB, name, addr string, ports ...string) {
	t.Helper()
	ns.IP(t, "link", "add", "name", name, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
	for _, port := range ports {
		ns.IP(t, "link", "set", port, "master", name, "up")
	}
	ns.Up(t, name, addr)
}

// Tap makes a tap device for a virtual machine and adds it to a bridge of the namespace.
func (ns *NS) Tap(t testing.TB, name, bridge string) {
	t.Helper()
	ns.IP(t, "tuntap", "add", "dev", name, "mode", "tap")
	ns.IP(t, "link", "set", name, "master", bridge, "up")
}
