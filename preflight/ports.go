package preflight

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"helperd/internal/socket"
	"helperd/plan"
)

// listener is a socket that a service will bind.
type listener struct {
	service string
	key     socket.Key
}

// listeners are all sockets of the plan.
func listeners(p *plan.Plan, have []Interface) []listener {
	var out []listener
	add := func(enabled bool, service, network string, at []netip.AddrPort) {
		for _, a := range at {
			if enabled {
				out = append(out, listener{service, socket.Key{Network: network, Addr: a}})
			}
		}
	}
	add(p.DNS.Enabled, "dns", "udp", p.DNS.Listen)
	add(p.DNS.Enabled, "dns", "tcp", p.DNS.Listen)
	add(p.TFTP.Enabled, "tftp", "udp", p.TFTP.Listen)
	add(p.HTTP.Enabled, "http", "tcp", p.HTTP.Listen)
	add(p.HTTP.Enabled, "http", "tcp", p.HTTP.TLS.Listen)
	add(p.FTP.Enabled, "ftp", "tcp", p.FTP.Listen)
	add(p.NTP.Enabled, "ntp", "udp", p.NTP.Listen)
	for _, f := range p.LB.Frontends {
		add(p.LB.Enabled, "lb", "tcp", f.Listen)
	}
	for _, s := range p.DHCP.Subnets {
		device := deviceOf(plan.Network{Prefix: s.Prefix, Interface: s.Interface}, have)
		if p.DHCP.Enabled && s.Mode != plan.ModeOff {
			out = append(out, listener{"dhcp", socket.Key{Network: "udp", Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), dhcpPort), Device: device}})
		}
		if p.DHCP.Enabled && s.Mode == plan.ModeProxy {
			out = append(out, listener{"dhcp", socket.Key{Network: "udp", Addr: netip.AddrPortFrom(s.Server, proxyPort)}})
		}
	}
	for _, s := range p.DHCP6.Subnets {
		device := deviceOf(plan.Network{Prefix: s.Prefix, Interface: s.Interface}, have)
		out = append(out, listener{"dhcp6", socket.Key{Network: "udp", Addr: netip.AddrPortFrom(netip.IPv6Unspecified(), dhcp6Port), Device: device}})
	}
	return out
}

// Ports of the servers: RFC 2131, PXE specification 2.1, RFC 8415 section 7.2.
const (
	dhcpPort  = 67
	proxyPort = 4011
	dhcp6Port = 547
)

// ports looks for other processes on the ports of the plan.
func ports(_ context.Context, p *plan.Plan, env *Env) []Finding {
	have, err := env.Interfaces()
	if err != nil {
		return nil // said by addresses
	}
	var found []Finding
	seen := map[socket.Key]bool{}
	free := 0
	for _, l := range listeners(p, have) {
		if seen[l.key] {
			continue
		}
		seen[l.key] = true
		holder := env.Holder(l.key)
		f := Finding{Check: "port", Where: fmt.Sprintf("%s/%s (%s)", l.key.Addr, l.key.Network, l.service)}
		switch {
		case holder == "":
			free++
			continue
		case strings.HasPrefix(holder, "helperd "):
			f.Level, f.What = OK, "is held by helperd itself: "+holder
		default:
			f.Level, f.What = Problem, "is held by "+holder
			f.Why = l.service + " waits until the port is free; until then nodes get the other server's answers"
			f.Do = freePort(holder)
		}
		found = append(found, f)
	}
	if free > 0 {
		found = append(found, Finding{Level: OK, Check: "port", What: fmt.Sprintf("%d of %d ports are free", free, len(seen))})
	}
	return found
}

// freePort says how to make a well-known daemon let go of its port.
func freePort(holder string) string {
	name, _, _ := strings.Cut(holder, " ")
	units := map[string]string{
		"named": "named", "dnsmasq": "dnsmasq", "dhcpd": "dhcpd", "kea-dhcp4": "kea-dhcp4", "kea-dhcp6": "kea-dhcp6", "dhcp6s": "dhcp6s", "in.tftpd": "tftp.socket", "haproxy": "haproxy",
		"httpd": "httpd", "apache2": "apache2", "nginx": "nginx", "unbound": "unbound", "chronyd": "chronyd",
		"vsftpd": "vsftpd", "proftpd": "proftpd", "pure-ftpd": "pure-ftpd",
	}
	switch unit := units[name]; {
	case name == "systemd-resolve":
		return "set DNSStubListener=no in /etc/systemd/resolved.conf and run: systemctl restart systemd-resolved"
	case name == "systemd":
		return "a socket unit listens there, such as tftp.socket: systemctl list-sockets; then systemctl disable --now UNIT"
	case unit == "dnsmasq":
		return "systemctl disable --now dnsmasq; when libvirt started it: virsh net-destroy NETWORK, or take another helper.address"
	case unit != "":
		return "systemctl disable --now " + unit
	}
	return "stop that process, or choose another port or address in the file"
}

// portSpecs are the ports nodes must reach, as firewall tools write them: 69/udp, 30000-30009/tcp.
func portSpecs(p *plan.Plan) []string {
	all := listeners(p, nil)
	slices.SortFunc(all, func(a, b listener) int {
		return cmp.Or(cmp.Compare(a.key.Addr.Port(), b.key.Addr.Port()), cmp.Compare(a.key.Network, b.key.Network))
	})
	var specs []string
	for _, l := range all {
		specs = append(specs, fmt.Sprintf("%d/%s", l.key.Addr.Port(), l.key.Network))
	}
	if f := p.FTP; f.Enabled {
		specs = append(specs, fmt.Sprintf("%d-%d/tcp", f.PassivePorts.First, f.PassivePorts.Last))
	}
	return slices.Compact(specs)
}
