package engine

import (
	"slices"

	"helperd/plan"
	"helperd/services/dhcp/packet"
)

// index makes r found by all that its machine may tell of itself.
func (p *Policy) index(r *reservation) {
	if !r.MAC.IsZero() {
		p.byMAC[r.MAC] = append(p.byMAC[r.MAC], r)
	}
	if !r.UUID.IsZero() {
		// RFC 4578 leaves the order of bytes open: the SMBIOS table, which much
		// firmware copies, has the first three fields in the other one.
		p.byUUID[r.UUID] = append(p.byUUID[r.UUID], r)
		if swapped := r.UUID.Swapped(); swapped != r.UUID {
			p.byUUID[swapped] = append(p.byUUID[swapped], r)
		}
	}
	if id := string(r.ClientID); id != "" {
		p.byID[id] = append(p.byID[id], r)
		p.byID["\x00"+id] = append(p.byID["\x00"+id], r) // dhcpcd writes the type of RFC 2132 section 9.14 before a name, dhclient does not
	}
}

// known gives all that the machine of req has, by the first that knows it: its
// MAC, then its UUID, then its client id.
func (p *Policy) known(req *packet.Request) []*reservation {
	if list := p.byMAC[req.MAC]; len(list) > 0 {
		return list
	}
	if len(req.UUID) > 0 {
		if list := p.byUUID[plan.UUID(req.UUID)]; len(list) > 0 {
			return list
		}
	}
	return p.byID[string(req.ID)]
}

// reservation gives what the machine of req has in n, or nil.
func (p *Policy) reservation(req *packet.Request, n *Subnet) *reservation {
	for _, r := range p.known(req) {
		if r.subnet == n {
			return r
		}
	}
	return nil
}

// elsewhere gives any reservation of the machine of req, or nil.
func (p *Policy) elsewhere(req *packet.Request) *reservation {
	if list := p.known(req); len(list) > 0 {
		return list[0]
	}
	return nil
}

// owns reports whether the address of b is reserved for the client that has it.
func (p *Policy) owns(b *binding) bool {
	return slices.ContainsFunc(p.owners[b.addr()], func(r *reservation) bool {
		return r.MAC == b.mac || len(r.ClientID) > 0 && (b.id == string(r.ClientID) || b.id == "\x00"+string(r.ClientID))
	})
}

// unlisted says that a node is known by something else than its MAC; empty: it is not so.
func (q *request) unlisted() string {
	if r := q.reservation; r == nil || r.Node == "" || r.MAC == q.MAC {
		return ""
	}
	return "; known by its uuid or client_id. MAC " + q.MAC.String() + " is not in its mac: add it there, for ignition files go by MAC"
}
