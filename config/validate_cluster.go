package config

import (
	"fmt"
	"slices"
	"strings"
)

func (v *validator) clusters() {
	zones := map[string]int{}
	for i, c := range v.c.Clusters {
		p := index("clusters", i)
		who := fmt.Sprintf("cluster %q", clip(c.Name))
		named := v.label(p+".name", who, c.Name)
		named = v.fullName(p+".domain", who, c.Domain, false) && named
		if named {
			zone := c.Name + "." + c.Domain
			if j, taken := zones[zone]; taken {
				v.errorf(p+".name", "%s: the zone %s is already used by another cluster (line %d); choose another name or domain", who, zone, v.line(index("clusters", j)+".name"))
				named = false
			} else {
				zones[zone] = i
				v.reserve(p, zone)
			}
		}
		v.cluster(p, who, c)
		for j, n := range c.Nodes {
			v.node(index(p+".nodes", j), c, n, named)
		}
		v.roles(p, who, c)
	}
}

// reserve claims the names that every cluster needs (user-provisioned DNS
// requirements of the OpenShift documentation).
func (v *validator) reserve(p, zone string) {
	for _, r := range []struct{ name, who string }{
		{"api", "the API"},
		{"api-int", "the internal API"},
		{"apps", "the wildcard of the applications"},
		{"*.apps", "the wildcard of the applications"},
	} {
		v.names[r.name+"."+zone] = owner{r.who + " of " + zone, p + ".name"}
	}
	if h := v.c.Helper.Name; badLabel(h, false) == "" {
		v.claimName("helper.name", "helper", h+"."+zone)
	}
}

func (v *validator) cluster(p, who string, c Cluster) {
	v.absolute(p+".ignition", who, c.Ignition)
	v.disk(p+".install_disk", who, c.InstallDisk)
	v.kernelArgs(p+".kernel_args", who, c.KernelArgs)
	if o, taken := v.addresses[c.Address]; taken && !strings.HasPrefix(o.path, "helper.") && !strings.HasPrefix(o.path, "clusters") {
		v.errorf(p+".address", "%s: address %s is already used by %s (line %d); the balancer needs one of this machine's own", who, c.Address, o.who, v.line(o.path))
	} else if !taken && c.Address.IsValid() {
		v.addresses[c.Address] = owner{"the balancer of " + who, p + ".address"}
	}
	if c.Artifacts == "" {
		return
	}
	names := namesOf(v.c.Artifacts, func(a Artifact) string { return a.Name })
	if !slices.Contains(names, c.Artifacts) && !v.broken("artifacts") {
		v.errorf(p+".artifacts", "%s: there is no artifact %q; %s", who, clip(c.Artifacts), meant(c.Artifacts, names, "write one under artifacts"))
	}
	if c.Ignition == "" && !v.broken(p+".ignition") {
		v.warnf(p+".artifacts", "%s: nodes boot and get no ignition file; write ignition: and the folder with bootstrap.ign, master.ign and worker.ign", who)
	}
	var missing []string
	for _, n := range c.Nodes {
		if n.InstallDisk == "" {
			missing = append(missing, n.Name)
		}
	}
	if len(missing) > 0 && !v.broken(p+".install_disk") && !v.broken(p+".nodes") {
		v.warnf(p, "%s: no install_disk for %s; nodes would boot and install nothing, write such as install_disk: /dev/sda", who, clip(strings.Join(missing, ", ")))
	}
}

// roles checks what OpenShift wants of the nodes together.
func (v *validator) roles(p, who string, c Cluster) {
	if v.broken(p+".nodes") || len(c.Nodes) == 0 {
		return
	}
	count := map[string]int{}
	bootstrap, ingress := "", 0
	for i, n := range c.Nodes {
		at := index(p+".nodes", i)
		count[n.Role]++
		if *n.Ingress {
			ingress++
		}
		if n.Role != "bootstrap" {
			continue
		}
		if bootstrap != "" {
			v.errorf(at+".role", "node %q: %s already has a bootstrap node (line %d); a cluster has one", n.Name, who, v.line(bootstrap))
			continue
		}
		bootstrap = at
	}
	masters := count["master"]
	switch {
	case masters == 0:
		v.errorf(p+".nodes", "%s: no master; write three nodes with role: master (one for a single-node cluster)", who)
	case masters%2 == 0 && count["arbiter"] == 0:
		v.warnf(p+".nodes", "%s: %d masters; etcd wants an odd number, add a master or a node with role: arbiter", who, masters)
	}
	if ingress == 0 && masters > 0 {
		v.warnf(p+".nodes", "%s: no node runs routers, so nothing answers on ports 80 and 443; write ingress: true at some", who)
	}
}

func (v *validator) disk(p, who, disk string) {
	switch bad := printable(disk); {
	case disk == "":
	case bad != "":
		v.errorf(p, "%s: install_disk %q has %s in it; write such as /dev/sda", who, clip(disk), bad)
	case !strings.HasPrefix(disk, "/dev/"):
		v.errorf(p, "%s: install_disk %q is no device; write such as /dev/%s", who, clip(disk), strings.TrimLeft(clip(disk), "./"))
	}
}

// kernelArgs refuses what would end the line of a boot file.
func (v *validator) kernelArgs(p, who string, args []string) {
	for i, a := range args {
		if printable(a) == "a control character" {
			v.errorf(index(p, i), "%s: kernel argument %q has a line break or control character; write one argument an entry", who, clip(a))
		}
	}
}

func (v *validator) node(p string, c Cluster, n Node, named bool) {
	who := fmt.Sprintf("node %q", clip(n.Name))
	if v.label(p+".name", who, n.Name) && named {
		fqdn := n.Name + "." + c.Name + "." + c.Domain
		v.claimName(p+".name", who, fqdn)
		v.hostName(p+".name", who, fqdn)
	}
	v.machine(p, who, n.IP, n.IP6, "add its network")
	v.claimMACs(p+".mac", who, n.MAC)
	v.identity(p, who, n.IP, n.UUID, n.ClientID)
	v.needsMAC(p, who, n)
	v.commandLine(p, who, n)
	for _, a := range v.c.Artifacts {
		if a.Name == c.Artifacts && a.Name != "" && a.Stream == (Source{}) && n.Arch != a.Arch && v.c.Written(p+".arch") && !v.broken(p+".arch") {
			v.errorf(p+".arch", "%s: its arch is %s and artifact %q is for %s; correct one, or give the cluster an artifact with a stream", who, n.Arch, a.Name, a.Arch)
		}
	}
}

// hostName checks the length that option 12 and Linux allow.
func (v *validator) hostName(p, who, fqdn string) {
	if len(fqdn) > 63 {
		v.errorf(p, "%s: %s has %d bytes and a host name at most 63 (DHCP option 12 carries it); shorten the name or the domain", who, fqdn, len(fqdn))
	}
}

// exampleAddress is an address that a machine could have.
func (v *validator) exampleAddress() string {
	for _, n := range v.c.Networks {
		if n.CIDR.IsValid() && n.CIDR.Bits() < n.CIDR.Addr().BitLen()-3 {
			return n.CIDR.Addr().Next().Next().Next().String()
		}
	}
	return "192.168.7.11"
}
