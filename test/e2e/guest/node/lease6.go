package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
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
	if err := awaitUse(addr); err != nil {
		return err
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

// awaitUse waits until the kernel has tried whether another machine has addr; until
// then it sends from the link-local address, which is no node's.
func awaitUse(addr netip.Addr) error {
	const tentative = 0x40 // IFA_F_TENTATIVE of linux/if_addr.h
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		table, err := os.ReadFile("/proc/net/if_inet6")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line) // address, interface, prefix length, scope, flags, name
			if flags, err := strconv.ParseUint(f[4], 16, 32); err == nil && f[0] == hex.EncodeToString(addr.AsSlice()) && flags&tentative == 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("%s cannot be used after 30 s", addr)
}

func lease6(device string) (*dhcpv6.Message, error) {
	ifi, err := net.InterfaceByName(device)
	if err != nil {
		return nil, err
	}
	// The client polls for random numbers, which makes the kernel of a machine
	// that does nothing else gather none; who waits for them does.
	if _, err := rand.Read(make([]byte, 8)); err != nil {
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
