package config

import (
	"slices"
	"strings"
)

// commandLine checks what becomes kernel arguments.
func (v *validator) commandLine(p, who string, n Node) {
	v.kernelArgs(p+".kernel_args", who, n.KernelArgs)
	if v.c.Written(p + ".install_disk") {
		v.disk(p+".install_disk", who, n.InstallDisk)
	}
	good := true
	if bad := printable(n.NIC); bad != "" || strings.Contains(n.NIC, ":") {
		v.errorf(p+".nic", "%s: %q is no name of an interface; write such as enp1s0", who, clip(n.NIC))
		good = false
	}
	name, rest, _ := strings.Cut(n.Bond, ":")
	members, _, _ := strings.Cut(rest, ":")
	if n.Bond != "" && (printable(n.Bond) != "" || name == "" || members == "") {
		v.errorf(p+".bond", "%s: bond %q; write NAME:INTERFACES:OPTIONS, such as bond0:em1,em2:mode=active-backup", who, clip(n.Bond))
		good = false
	}
	if tag, under, _ := strings.Cut(n.VLAN, ":"); n.VLAN != "" && (printable(n.VLAN) != "" || tag == "" || under == "" || strings.Contains(under, ":")) {
		v.errorf(p+".vlan", "%s: vlan %q; write NAME:INTERFACE, such as bond0.100:bond0", who, clip(n.VLAN))
		good = false
	}
	if good {
		v.interfaces(p, who, n)
	}
}

// interfaces checks that nic, bond and vlan, which dracut stacks, belong together.
func (v *validator) interfaces(p, who string, n Node) {
	bond, rest, _ := strings.Cut(n.Bond, ":")
	members, _, _ := strings.Cut(rest, ":")
	_, under, _ := strings.Cut(n.VLAN, ":")
	below := append(strings.Split(members, ","), bond, under)
	switch {
	case under != "" && bond != "" && under != bond:
		v.warnf(p+".vlan", "%s: vlan is on %s, and the bond is %s: the bond gets no address; write :%s if the VLAN is on the bond", who, under, bond, bond)
	case n.NIC != "" && (bond != "" || under != "") && !slices.Contains(below, n.NIC):
		v.warnf(p+".nic", "%s: nic %s is not used, for bond or vlan name the interfaces; remove it or name it there", who, n.NIC)
	case n.Static && len(n.MAC) > 1 && n.NIC == "" && bond == "" && under == "":
		v.warnf(p+".static", "%s: which of its %d cards gets the address is left to the installer; write nic: with the name of one, or bond:", who, len(n.MAC))
	}
}
