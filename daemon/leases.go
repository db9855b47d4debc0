package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"helperd/api"
	"helperd/plan"
	"helperd/services/dhcp"
	"helperd/services/dhcp6"
	"helperd/services/leasing"
	"helperd/state"
)

// Leases implements api.Backend.
func (b backend) Leases() []api.Lease {
	rows := []api.Lease{}
	p := b.view().plan
	if p == nil {
		return rows
	}
	for _, r := range slices.Concat(p.DHCP.Reservations, p.DHCP6.Reservations) {
		if p.DHCP.Proxied(r.Address) {
			continue // another server's
		}
		rows = append(rows, api.Lease{Kind: "reservation", Node: r.Node, Lease: state.Lease{Address: r.Address, MAC: r.MAC, ClientID: []byte(r.ClientID), Hostname: r.Hostname, State: state.Bound}})
	}
	for _, l := range slices.Concat(find[*dhcp.Service](b.Daemon).Leases(), find[*dhcp6.Service](b.Daemon).Leases()) {
		rows = append(rows, api.Lease{Kind: "pool", Lease: l})
	}
	return rows
}

// Release implements api.Backend. An address of the file may still be leased to
// a machine from when it was in a pool: that lease goes.
func (b backend) Release(ctx context.Context, which string) (api.Released, error) {
	addr, notAddr := netip.ParseAddr(which)
	var mac plan.MAC
	if notAddr != nil && mac.UnmarshalText([]byte(which)) != nil {
		return api.Released{}, fmt.Errorf("%q is no address and no MAC", which)
	}
	var reserved *api.Lease
	done := api.Released{Leases: []api.Lease{}}
	for _, l := range b.Leases() {
		switch {
		case notAddr == nil && l.Address != addr, notAddr != nil && l.MAC != mac:
		case l.Kind != "pool":
			reserved = &l
		default:
			if err := b.release(ctx, l.Address); err != nil && !errors.Is(err, leasing.ErrNoLease) {
				return done, err
			}
			done.Leases = append(done.Leases, l)
		}
	}
	switch {
	case len(done.Leases) > 0:
		return done, nil
	case reserved != nil:
		return done, fmt.Errorf("%s belongs to %s by helper.yaml: there is no lease to end; change the file if the machine is to lose it",
			reserved.Address, cmp.Or(reserved.Hostname, reserved.MAC.String()))
	}
	return done, fmt.Errorf("%w: nobody has a lease of %s; `helperd leases` lists them", api.ErrUnknown, which)
}

func (b backend) release(ctx context.Context, addr netip.Addr) error {
	if addr.Is4() {
		return find[*dhcp.Service](b.Daemon).Release(ctx, addr)
	}
	return find[*dhcp6.Service](b.Daemon).Release(ctx, addr)
}

// ExplainDHCP implements api.Backend.
func (b backend) ExplainDHCP(q *leasing.Question) ([]leasing.Answer, error) {
	p := b.view().plan
	if p == nil {
		return nil, errors.New("nothing is served yet; `helperd status` says why")
	}
	var out []leasing.Answer
	if !q.Relay.Is6() {
		out = find[*dhcp.Service](b.Daemon).Explain(q)
	}
	if !q.Relay.Is4() {
		out = append(out, find[*dhcp6.Service](b.Daemon).Explain(q)...)
	}
	return q.Relevant(out), nil
}
