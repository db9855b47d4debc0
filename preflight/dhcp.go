package preflight

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"helperd/plan"
)

// listenFor is how long a DHCP server is given to answer. Those that look whether
// an address is free before they offer it take a second (dhcpd) or three (dnsmasq).
const listenFor = 4 * time.Second

// foreignDHCP asks on every network whether another DHCP server answers.
func foreignDHCP(ctx context.Context, p *plan.Plan, env *Env) []Finding {
	have, err := env.Interfaces()
	if err != nil || !p.DHCP.Enabled {
		return nil
	}
	var found []Finding
	for _, s := range p.DHCP.Subnets {
		device := deviceOf(plan.Network{Prefix: s.Prefix, Interface: s.Interface}, have)
		up := slices.ContainsFunc(have, func(i Interface) bool { return i.Name == device && i.Up })
		if s.Mode != plan.ModeOff && up {
			found = append(found, env.foreign(ctx, p, s, device))
		}
	}
	return found
}

func (env *Env) foreign(ctx context.Context, p *plan.Plan, s plan.Subnet, device string) Finding {
	f := Finding{Level: OK, Check: "dhcp", Where: device, What: "no other DHCP server answers"}
	servers, err := env.Discover(ctx, device)
	if err != nil {
		f.Level, f.What, f.Why, f.Do = Skipped, "not asked for other DHCP servers", err.Error(), "run preflight as root"
		return f
	}
	own := append(p.Helper.Addresses(), s.Server)
	servers = slices.DeleteFunc(servers, func(a netip.Addr) bool { return slices.Contains(own, a) })
	proxy := s.Mode == plan.ModeProxy
	switch {
	case len(servers) > 0 && !proxy:
		f.Level, f.What = Problem, "another DHCP server answers: "+servers[0].String()
		f.Why = "whoever is quicker decides what a node boots; helperd serves declared machines only while it hears the other"
		f.Do = "switch the other one off on this network, or write dhcp: {mode: proxy} and let it give the addresses"
	case len(servers) > 0:
		f.What = "addresses come from " + servers[0].String() + ", as mode: proxy wants it"
	case proxy:
		f.Level, f.What = Problem, "no DHCP server answers"
		f.Why, f.Do = "with mode: proxy somebody else must give the addresses", "start that server, or write mode: server"
	}
	return f
}

// discover sends one DHCPDISCOVER of a machine that does not exist and gives
// the servers that offer it something.
func discover(ctx context.Context, device string) ([]netip.Addr, error) {
	mac, err := randomMAC()
	if err != nil {
		return nil, err
	}
	conn, err := nclient4.NewRawUDPConn(device, 68)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	q, err := dhcpv4.NewDiscovery(mac, dhcpv4.WithBroadcast(true))
	if err != nil {
		return nil, err
	}
	if _, err := conn.WriteTo(q.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 67}); err != nil {
		return nil, err
	}
	until := time.Now().Add(listenFor)
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(until) {
		until = sooner
	}
	if err := conn.SetReadDeadline(until); err != nil {
		return nil, err
	}
	var servers []netip.Addr
	b := make([]byte, 4096)
	for {
		n, _, err := conn.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return servers, nil
		}
		if err != nil {
			return servers, err
		}
		r, err := dhcpv4.FromBytes(b[:n])
		if err != nil || r.TransactionID != q.TransactionID || r.MessageType() != dhcpv4.MessageTypeOffer {
			continue
		}
		if a, ok := netip.AddrFromSlice(r.ServerIdentifier().To4()); ok && !slices.Contains(servers, a) {
			servers = append(servers, a)
		}
	}
}
