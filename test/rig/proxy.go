package rig

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
)

// BesideServer is an Options.Edit for a helper whose network has a DHCP server of its own.
func BesideServer(text string) string {
	const server = "    dhcp:\n      pool: 192.168.67.100-192.168.67.200\n      lease: 4h\n"
	return strings.Replace(text, server, "    dhcp: {mode: proxy}\n", 1)
}

// SiteDHCP runs dnsmasq as the DHCP server of the helper's network, at the
// router's address, until the test ends: the nodes' addresses and what belongs to
// them, and nothing of booting but the next server; empty: none, so it names itself.
func (r *Rig) SiteDHCP(t testing.TB, next string) {
	t.Helper()
	netns.Tools(t, "dnsmasq")
	home := r.network(r.Address)
	args := []string{
		"--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--conf-file=/dev/null", "--user=root", "--port=0", "--pid-file=",
		"--dhcp-authoritative", "--no-ping", "--interface=" + home.bridge, "--bind-interfaces",
		"--dhcp-leasefile=" + filepath.Join(r.Dir, "dnsmasq.leases"),
		"--dhcp-range=192.168.67.230,192.168.67.240,255.255.255.0,1h",
		"--dhcp-option=option:dns-server," + r.Address, "--dhcp-option=option:domain-search," + r.Nodes[0].Zone, "--dhcp-option=option:domain-name," + r.Nodes[0].Zone,
	}
	if next != "" {
		args = append(args, "--dhcp-boot=,,"+next)
	}
	for _, n := range r.Nodes {
		args = append(args, "--dhcp-host="+n.MAC+","+n.IP+",set:"+n.Name, "--dhcp-option=tag:"+n.Name+",12,"+n.FQDN())
	}
	ended, said := r.background(t, "dnsmasq", args...)
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(said.String(), "DHCP, sockets bound"); {
		select {
		case <-ended:
			t.Fatalf("dnsmasq does not start:\n%s", said.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("dnsmasq is not ready:\n%s", said.String())
		}
	}
}
