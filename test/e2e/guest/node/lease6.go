package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/dhcpv6/nclient6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// takeLease6 asks DHCPv6 for an address as NetworkManager on CoreOS does, by a
// DUID-LL, and sets it. Routes come by router advertisements alone.
func (n *node) takeLease6(device string) error {
	reply, err := lease6(device)
	if err != nil {
		return err
	}
	ia := reply.Options.OneIANA()
	if ia == nil || ia.Options.OneAddress() == nil {
		return fmt.Errorf("no address in %s", reply.Summary())
	}
	addr, _ := netip.AddrFromSlice(ia.Options.OneAddress().IPv6Addr)
	if out, err := exec.Command("ip", "address", "add", addr.String()+"/128", "dev", device).CombinedOutput(); err != nil {
		return fmt.Errorf("set %s: %w: %s", addr, err, out)
	}
	n.lease["ip"], n.lease["lease"] = addr.String(), fmt.Sprint(ia.Options.OneAddress().ValidLifetime.Seconds())
	resolver := ""
	for _, s := range reply.Options.DNS() {
		resolver += "nameserver " + s.String() + "\n"
		n.lease["dns"] = strings.TrimSpace(n.lease["dns"] + " " + s.String())
	}
	if name := reply.Options.FQDN(); name != nil {
		n.lease["hostname"] = strings.Join(name.DomainName.Labels, ".")
	}
	if list := reply.Options.DomainSearchList(); list != nil {
		n.lease["search"] = strings.Join(list.Labels, " ")
	}
	for _, name := range []string{"ip", "dns", "hostname", "search", "lease"} {
		fmt.Println("E2E lease", name+"="+n.lease[name])
		if n.lease[name] == "" {
			return fmt.Errorf("no %s in the lease", name)
		}
	}
	return os.WriteFile("/etc/resolv.conf", []byte(resolver), 0o644)
}

func lease6(device string) (*dhcpv6.Message, error) {
	ifi, err := net.InterfaceByName(device)
	if err != nil {
		return nil, err
	}
	var c *nclient6.Client
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if c, err = nclient6.New(device); err == nil {
			break // the link-local address may be used now
		}
		if time.Now().After(end) {
			return nil, err
		}
	}
	defer c.Close()
	ask := []dhcpv6.Modifier{
		dhcpv6.WithClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: ifi.HardwareAddr}),
		dhcpv6.WithRequestedOptions(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionFQDN),
		dhcpv6.WithOption(&dhcpv6.OptFQDN{Flags: 1, DomainName: &rfc1035label.Labels{}}),
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	offer, err := c.Solicit(ctx, ask...)
	if err != nil {
		return nil, errors.Join(errors.New("nobody answers a Solicit"), err)
	}
	return c.Request(ctx, offer, ask...)
}
