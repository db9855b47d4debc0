package config

import "net/netip"

// identity checks and claims what DHCP knows a machine by beside its MACs.
func (v *validator) identity(p, who string, ip netip.Addr, u UUID, id ClientID) {
	at := p + ".client_id"
	if !u.IsZero() {
		at = p + ".uuid"
		own(v, v.uuids, u, "UUID "+u.String(), at, who)
		// Firmware writes both orders, so one machine's must not be the other's swapped.
		if o, taken := v.uuids[u.Swapped()]; taken && u.Swapped() != u {
			v.errorf(at, "%s: UUID %s is that of %s (line %d) with the bytes in the other order, which firmware writes too", who, u, o.who, v.line(o.path))
		}
	}
	if id != "" {
		own(v, v.ids, id, "client id "+clip(id.String()), p+".client_id", who)
	}
	if (id != "" || !u.IsZero()) && !ip.IsValid() && !v.broken(p+".ip") {
		v.errorf(at, "%s: uuid and client_id are of IPv4, and there is no ip; write one, or mac, which DHCPv6 goes by", who)
	}
}

// own gives k to one owner.
func own[K comparable](v *validator, owners map[K]owner, k K, what, path, who string) {
	if o, taken := owners[k]; taken {
		v.errorf(path, "%s: %s is already used by %s (line %d)", who, what, o.who, v.line(o.path))
		return
	}
	owners[k] = owner{who, path}
}

// needsMAC refuses a node that has nothing but a UUID or client id: loaders ask
// for boot files by MAC, and the gate of ignition files goes by it.
func (v *validator) needsMAC(p, who string, n Node) {
	switch {
	case len(n.MAC) > 0 || v.broken(p+".mac"):
	case !n.UUID.IsZero():
		v.errorf(p+".uuid", "%s: boot files and ignition go by MAC; write mac too", who)
	case n.ClientID != "":
		v.errorf(p+".client_id", "%s: boot files and ignition go by MAC; write mac too", who)
	}
}
