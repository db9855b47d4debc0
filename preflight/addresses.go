package preflight

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"helperd/plan"
)

// addresses looks for the addresses that services bind.
func addresses(_ context.Context, p *plan.Plan, env *Env) []Finding {
	have, err := env.Interfaces()
	if err != nil {
		return []Finding{{Level: Skipped, Check: "address", What: "the interfaces cannot be listed", Why: err.Error()}}
	}
	want := p.Helper.Addresses()
	for _, c := range p.Clusters {
		if c.Address.IsValid() && !slices.Contains(want, c.Address) {
			want = append(want, c.Address)
		}
	}
	var found []Finding
	for _, a := range want {
		found = append(found, address(a, p, have))
	}
	return found
}

func address(a netip.Addr, p *plan.Plan, have []Interface) Finding {
	f := Finding{Level: OK, Check: "address", Where: a.String()}
	for _, i := range have {
		if !slices.Contains(i.Addrs, a) {
			continue
		}
		f.What = "is held by " + i.Name
		if !i.Up {
			f.Level, f.Why, f.Do = Problem, "the interface is down", "ip link set "+i.Name+" up"
		}
		return f
	}
	f.Level, f.What, f.Why = Problem, "no interface holds it", "nodes are told to reach every service there"
	for _, n := range p.Networks {
		if n.Prefix.Contains(a) {
			f.Do = fmt.Sprintf("give it to the interface that faces %s, such as: ip address add %s/%d dev %s; or correct the address in the file",
				n.Prefix.Masked(), a, n.Prefix.Bits(), cmp.Or(n.Interface, "INTERFACE"))
		}
	}
	return f
}

// interfaces looks for the interfaces that face the networks.
func interfaces(_ context.Context, p *plan.Plan, env *Env) []Finding {
	have, err := env.Interfaces()
	if err != nil {
		return nil // said by addresses
	}
	var found []Finding
	for _, n := range p.Networks {
		f := facing(n, have)
		if f.Level == Warning && slices.ContainsFunc(p.Helper.Addresses(), n.Prefix.Contains) {
			continue // the helper's own network: said by addresses
		}
		found = append(found, f)
	}
	return found
}

func facing(n plan.Network, have []Interface) Finding {
	f := Finding{Level: OK, Check: "interface", Where: n.Prefix.Masked().String()}
	if n.Interface == "" {
		if name := deviceOf(n, have); name != "" {
			f.What = "is faced by " + name
			return f
		}
		f.Level, f.What = Warning, "no interface has an address in it"
		f.Why = "its nodes reach helperd through a router only, and DHCP by a relay"
		f.Do = "nothing when the router relays DHCP to the helper; else name the interface in networks[].interface"
		return f
	}
	for _, i := range have {
		if i.Name != n.Interface {
			continue
		}
		f.What = "is faced by " + i.Name
		if !i.Up {
			f.Level, f.What, f.Do = Problem, i.Name+" is down", "ip link set "+i.Name+" up"
		}
		return f
	}
	f.Level, f.What = Problem, "there is no interface "+n.Interface
	f.Why, f.Do = "DHCP cannot be served there", "correct networks[].interface; `ip link` lists what there is"
	return f
}

// deviceOf is the interface that faces n; empty: none.
func deviceOf(n plan.Network, have []Interface) string {
	if n.Interface != "" {
		return n.Interface
	}
	for _, i := range have {
		if slices.ContainsFunc(i.Addrs, n.Prefix.Contains) {
			return i.Name
		}
	}
	return ""
}
