package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A claim is one port that a service takes.
type claim struct {
	network   string // tcp or udp
	addr      netip.Addr
	port      int
	who, path string
}

// portKey is what no two claims may share.
type portKey struct {
	network string
	addr    netip.Addr
	port    int
}

// ports finds ports that two services want on one address.
func (v *validator) ports() {
	claims := v.claims()
	// What is written is complained about rather than what is a default.
	slices.SortStableFunc(claims, func(a, b claim) int {
		switch x, y := v.c.Written(a.path), v.c.Written(b.path); {
		case x == y:
			return 0
		case y:
			return -1
		}
		return 1
	})
	taken := map[portKey]claim{}
	first := map[portKey]claim{} // by IP version and port: the first, to meet a wildcard
	for _, c := range claims {
		own, all := portKey{c.network, c.addr, c.port}, portKey{c.network, wildcard(c.addr), c.port}
		o, clash := taken[own]
		if !clash {
			o, clash = taken[all]
		}
		if !clash && own == all {
			o, clash = first[all]
		}
		if clash {
			v.errorf(c.path, "%s: %s port %d of %s is already used by %s%s; choose another", c.who, c.network, c.port, c.addr, o.who, v.where(o.path))
			continue
		}
		taken[own] = c
		if _, ok := first[all]; !ok {
			first[all] = c
		}
	}
	v.passivePorts(claims)
}

func wildcard(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// where is " (line 9)" for what is written in the file.
func (v *validator) where(path string) string {
	if !v.c.Written(path) {
		return ""
	}
	return fmt.Sprintf(" (line %d)", v.line(path))
}

// claims lists the ports of all enabled services. DHCP is not among them: it
// binds devices.
func (v *validator) claims() []claim {
	c := v.c
	var cs []claim
	take := func(network, who, path string, port int, listen netip.Addr) {
		addrs := []netip.Addr{listen}
		if !listen.IsValid() {
			addrs = []netip.Addr{c.Helper.Address, c.Helper.Address6}
		}
		for _, a := range addrs {
			if a.IsValid() && port > 0 && !v.failed[path] {
				cs = append(cs, claim{network, a, port, who, path})
			}
		}
	}
	cs = append(cs, v.clusterClaims()...)
	if c.DNS.Enabled {
		take("tcp", "dns", "dns", 53, netip.Addr{})
		take("udp", "dns", "dns", 53, netip.Addr{})
	}
	if c.NFS.Enabled && len(c.NFS.Exports) > 0 {
		take("tcp", "nfs", "nfs", 2049, netip.Addr{})
		take("tcp", "nfs", "nfs", 111, netip.Addr{})
		take("udp", "nfs", "nfs", 111, netip.Addr{})
	}
	if c.HTTP.Enabled {
		take("tcp", "http", "http.port", c.HTTP.Port, c.HTTP.Listen)
		take("tcp", "https", "http.tls_port", c.HTTP.TLSPort, c.HTTP.Listen)
	}
	if c.TFTP.Enabled {
		take("udp", "tftp", "tftp.port", c.TFTP.Port, c.TFTP.Listen)
	}
	if c.FTP.Enabled {
		take("tcp", "ftp", "ftp.port", c.FTP.Port, c.FTP.Listen)
	}
	if c.NTP.Enabled {
		take("udp", "ntp", "ntp.port", c.NTP.Port, c.NTP.Listen)
	}
	if a := c.Admin.Listen; a.IsValid() {
		take("tcp", "admin", "admin.listen", int(a.Port()), a.Addr())
	}
	for i, f := range c.LB.Frontends {
		for j, a := range f.Listen {
			if c.LB.Enabled && a.IsValid() {
				take("tcp", fmt.Sprintf("frontend %q", clip(f.Name)), index(index("lb.frontends", i)+".listen", j), int(a.Port()), a.Addr())
			}
		}
	}
	return cs
}

// clusterClaims lists the ports of the clusters' own frontends; clusters share
// an address, told apart by name.
func (v *validator) clusterClaims() []claim {
	var cs []claim
	done := map[netip.Addr]bool{}
	for i, cl := range v.c.Clusters {
		addrs := []netip.Addr{cl.Address}
		if cl.Address == v.c.Helper.Address {
			addrs = append(addrs, v.c.Helper.Address6)
		}
		for _, a := range addrs {
			if !v.c.LB.Enabled || !a.IsValid() || done[a] {
				continue
			}
			done[a] = true
			for _, port := range []int{6443, 22623, 443, 80} {
				cs = append(cs, claim{"tcp", a, port, fmt.Sprintf("the balancer of cluster %q", clip(cl.Name)), index("clusters", i)})
			}
		}
	}
	return cs
}

// passivePorts finds services inside of the port range of FTP data connections.
func (v *validator) passivePorts(claims []claim) {
	f := v.c.FTP
	if !f.Enabled || f.PassivePorts.First == 0 {
		return
	}
	for _, c := range claims {
		if c.network != "tcp" || c.port < f.PassivePorts.First || c.port > f.PassivePorts.Last {
			continue
		}
		if same := f.Listen == c.addr || !f.Listen.IsValid() && (c.addr == v.c.Helper.Address || c.addr == v.c.Helper.Address6); same || c.addr.IsUnspecified() {
			at := "ftp.passive_ports"
			if !v.c.Written(at) {
				at = c.path
			}
			v.errorf(at, "ftp: the passive ports %d-%d have port %d of %s%s among them; choose others", f.PassivePorts.First, f.PassivePorts.Last, c.port, c.who, v.where(c.path))
		}
	}
}

// files checks folders and what else names this machine's files.
func (v *validator) files() {
	c := v.c
	v.absolute("http.root", "http", c.HTTP.Root)
	v.absolute("tftp.root", "tftp", c.TFTP.Root)
	v.absolute("ftp.root", "ftp", c.FTP.Root)
	if c.TFTP.Listing {
		v.errorf("tftp.listing", "tftp: the protocol cannot list a folder; remove listing")
	}
	paths := namesOf(c.NFS.Exports, func(e Export) string {
		if e.Path == "/" {
			return e.Path
		}
		return strings.TrimRight(e.Path, "/")
	})
	v.unique("nfs.exports", "path", "export", paths)
	for i, e := range c.NFS.Exports {
		p := index("nfs.exports", i) + ".path"
		v.absolute(p, "export", e.Path)
		if e.Path == "/" {
			v.errorf(p, "export: / would hand out the whole machine, its secrets too; write a folder")
		}
	}
	if r := c.History.Remote; printable(r) != "" {
		v.errorf("history.remote", "history: %q is no git address; write such as https://git.example.com/helper.git", clip(r))
	}
}
