package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"helperd/config"
)

// keyfiles are the connections of a node with static addresses as
// NetworkManager keeps them (nm-settings-keyfile(5)): the device that has the
// addresses, and what it is made of. They say what networkArgs say to dracut.
func (b *builder) keyfiles(n *Node, cn *config.Node) []Keyfile {
	if !cn.Static {
		return nil
	}
	bond, slaves, options := bondOf(cn.Bond)
	vlan, parent, _ := strings.Cut(cn.VLAN, ":")
	mtu := b.mtuOf(n)
	var out []Keyfile
	add := func(kind, device string, fill func(*keyfile), of ...string) {
		k := &keyfile{}
		k.section("connection", append([]string{"id=" + device, "type=" + kind, "interface-name=" + device}, of...)...)
		if mtu != 0 {
			k.section("ethernet", fmt.Sprint("mtu=", mtu))
		}
		fill(k)
		out = append(out, Keyfile{device, k.String()})
	}
	addressed := func(k *keyfile) { b.addresses(k, n) }
	if bond != "" {
		add("bond", bond, func(k *keyfile) {
			k.section("bond", options...)
			if vlan == "" {
				addressed(k)
			} else {
				k.carries()
			}
		})
		for _, s := range slaves {
			add("ethernet", s, func(*keyfile) {}, "master="+bond, "slave-type=bond")
		}
	}
	if vlan != "" {
		if parent != bond {
			add("ethernet", parent, (*keyfile).carries)
		}
		add("vlan", vlan, func(k *keyfile) {
			k.section("vlan", "parent="+parent, "id="+vlanID(vlan), "flags=1")
			addressed(k)
		})
	}
	switch {
	case len(out) > 0:
	case cn.NIC != "":
		add("ethernet", cn.NIC, addressed)
	case len(n.MACs) > 0:
		k := &keyfile{}
		k.section("connection", "id=ethernet", "type=ethernet")
		lines := []string{"mac-address=" + strings.ToUpper(n.MACs[0].String())}
		if mtu != 0 {
			lines = append(lines, fmt.Sprint("mtu=", mtu))
		}
		k.section("ethernet", lines...)
		addressed(k)
		out = append(out, Keyfile{"ethernet", k.String()})
	}
	return out
}

// mtuOf is the smallest MTU of n's networks; 0: they declare none.
func (b *builder) mtuOf(n *Node) (least int) {
	for _, a := range n.Addresses() {
		if network := b.networkOf(a); network != nil && network.MTU != 0 && (least == 0 || network.MTU < least) {
			least = network.MTU
		}
	}
	return least
}

// bondOf takes dracut's bond=NAME:DEVICE,DEVICE:OPTION=VALUE,... apart.
func bondOf(s string) (name string, slaves, options []string) {
	fields := strings.SplitN(s, ":", 4)
	if len(fields) < 2 {
		return "", nil, nil
	}
	if len(fields) > 2 && fields[2] != "" {
		// A value with commas in it, such as arp_ip_target, goes on with semicolons in dracut.
		options = strings.Split(strings.ReplaceAll(fields[2], ";", "\x00"), ",")
		for i := range options {
			options[i] = strings.ReplaceAll(options[i], "\x00", ",")
		}
	}
	if len(options) == 0 {
		options = []string{"mode=balance-rr"} // dracut's default
	}
	return fields[0], strings.Split(fields[1], ","), options
}

// vlanID is the number in the name of a VLAN device: dracut reads bond0.100, vlan100 and vlan0100.
func vlanID(name string) string {
	digits := name[strings.LastIndexFunc(name, func(r rune) bool { return r < '0' || r > '9' })+1:]
	return strings.TrimLeft(digits, "0")
}

// addresses gives k what n has in its networks.
func (b *builder) addresses(k *keyfile, n *Node) {
	zone := n.Cluster.Zone
	for _, family := range []struct {
		section string
		address netip.Addr
	}{{"ipv4", n.IP}, {"ipv6", n.IP6}} {
		network := b.networkOf(family.address)
		if network == nil {
			if family.section == "ipv4" {
				k.section("ipv4", "method=disabled")
			}
			continue // IPv6 stays as it is: by router advertisements
		}
		address := netip.PrefixFrom(family.address, network.CIDR.Bits()).String()
		if network.Gateway.IsValid() {
			address += "," + network.Gateway.String()
		}
		lines := []string{"method=manual", "address1=" + address, "dns-search=" + zone + ";"}
		var servers []string
		for _, s := range network.DNS {
			if s.Is4() == family.address.Is4() && !slices.Contains(servers, s.String()) {
				servers = append(servers, s.String())
			}
		}
		if len(servers) > 0 {
			lines = append(lines, "dns="+strings.Join(servers, ";")+";")
		}
		for i, r := range network.Routes {
			lines = append(lines, fmt.Sprintf("route%d=%s,%s", i+1, r.To, r.Via))
		}
		k.section(family.section, lines...)
	}
}

// keyfile is one that is being written.
type keyfile struct{ strings.Builder }

func (k *keyfile) section(name string, lines ...string) {
	if k.Len() > 0 {
		k.WriteByte('\n')
	}
	k.WriteString("[" + name + "]\n")
	for _, l := range lines {
		k.WriteString(l + "\n")
	}
}

// carries gives k no addresses: another connection has them.
func (k *keyfile) carries() {
	k.section("ipv4", "method=disabled")
	k.section("ipv6", "method=disabled")
}
