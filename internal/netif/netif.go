// Package netif lists the network interfaces of this machine as its servers see them:
// which one a network of the file is on, and what keeps one from being served.
package netif

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Interface is a network interface of this machine as it was when it was listed.
type Interface struct {
	Name    string
	Index   int
	MAC     [6]byte      // zero: none of Ethernet
	Up      bool         // switched on, and of a kind that has neighbours
	Carrier bool         // there is somebody at the other end
	Addrs   []netip.Addr // without zones; those of IPv6 with link-local ones
}

// List gives all interfaces.
func List() ([]Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []Interface
	for _, ifi := range list {
		addrs, err := ifi.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		const wanted = net.FlagUp | net.FlagMulticast
		i := Interface{Name: ifi.Name, Index: ifi.Index, Up: ifi.Flags&wanted == wanted, Carrier: ifi.Flags&net.FlagRunning != 0}
		if len(ifi.HardwareAddr) == len(i.MAC) {
			i.MAC = [6]byte(ifi.HardwareAddr)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				i.Addrs = append(i.Addrs, p.Addr().Unmap())
			}
		}
		out = append(out, i)
	}
	return out, nil
}

// At gives the interface that network p is on, or nil: the one called name or, without a
// name, the first one that has an address in p.
func At(list []Interface, name string, p netip.Prefix) *Interface {
	for k := range list {
		if i := &list[k]; name == i.Name || name == "" && i.Within(p) {
			return i
		}
	}
	return nil
}

// Holding gives the first interface that has address a, or nil.
func Holding(list []Interface, a netip.Addr) *Interface {
	for k := range list {
		if list[k].Holds(a) {
			return &list[k]
		}
	}
	return nil
}

// Addrs are the addresses of all interfaces.
func Addrs(list []Interface) (out []netip.Addr) {
	for i := range list {
		out = append(out, list[i].Addrs...)
	}
	return out
}

// Holds reports whether a is an address of the interface.
func (i *Interface) Holds(a netip.Addr) bool { return slices.Contains(i.Addrs, a) }

// Within reports whether the interface has an address in p.
func (i *Interface) Within(p netip.Prefix) bool { return slices.ContainsFunc(i.Addrs, p.Contains) }

// LinkLocal are the link-local addresses of IPv6 (RFC 4291 section 2.5.6).
func (i *Interface) LinkLocal() []netip.Addr {
	return slices.DeleteFunc(slices.Clone(i.Addrs), func(a netip.Addr) bool { return !a.Is6() || !a.IsLinkLocalUnicast() })
}

// Lacks6 says why nobody on the interface can be spoken to by IPv6, and what to do; empty: nothing is known to be wrong.
func (i *Interface) Lacks6() string {
	switch {
	case len(i.LinkLocal()) > 0:
		return ""
	case !i.Carrier:
		return fmt.Sprintf("interface %s has no link; plug its cable in", i.Name)
	}
	return fmt.Sprintf("interface %s has no link-local address; is IPv6 switched off there (sysctl net.ipv6.conf.%s.disable_ipv6)?", i.Name, i.Name)
}
