package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"helperd/ghost"
	"helperd/internal/guard"
)

// bridge is the demonstration's network: a switch that the helper and all machines are plugged into.
const bridge = "lan0"

// ownNamespace refuses to go on anywhere but in a fresh network namespace,
// where there is nothing but the loopback interface.
func ownNamespace() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		// The kernel puts fallback tunnels (sit0, tunl0) into every new namespace.
		if l.Attrs().Flags&net.FlagUp != 0 && l.Attrs().Name != "lo" {
			return fmt.Errorf("there is an interface %s: this is no namespace of the demonstration's own", l.Attrs().Name)
		}
	}
	return nil
}

// buildLAN makes the bridge and gives it the helper's address.
func buildLAN(helper netip.Prefix) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		if errors.Is(err, unix.EPERM) {
			// AppArmor lets a user make the namespace and takes its privileges away.
			return fmt.Errorf("switch on an interface: %w; this system forbids user namespaces to users: run the demonstration as root, or allow them: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0", err)
		}
		return fmt.Errorf("switch on lo: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridge
	// A bridge without an address of its own takes that of a port, and changes it
	// when that port goes: the others would talk to a machine that is gone.
	attrs.HardwareAddr = net.HardwareAddr{0x52, 0x54, 0, 0xff, 0xff, 2}
	br := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(br); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("make a bridge: %w; the kernel has no bridge module loaded: modprobe bridge veth, as root", err)
		}
		return fmt.Errorf("make a bridge: %w", err)
	}
	ipnet := net.IPNet{IP: helper.Addr().AsSlice(), Mask: net.CIDRMask(helper.Bits(), 32)}
	if err := netlink.AddrAdd(br, &netlink.Addr{IPNet: &ipnet}); err != nil {
		return fmt.Errorf("give %s to the bridge: %w", helper, err)
	}
	return netlink.LinkSetUp(br)
}

// internet plays what lies behind the gateway, as far as a helper node needs
// it: the name server that is forwarded to. Every name has one address there.
type internet struct {
	link   *ghost.Link
	server *dns.Server
}

func newInternet(g *guard.Group, gateway netip.Prefix) (*internet, error) {
	link, err := ghost.Plug(bridge, net.HardwareAddr{0x52, 0x54, 0, 0xff, 0xff, 1})
	if err != nil {
		return nil, err
	}
	i := &internet{link: link}
	if err := link.Configure(gateway, netip.Addr{}); err != nil {
		link.Close()
		return nil, err
	}
	conn, err := link.ListenPacket(netip.AddrPortFrom(gateway.Addr(), 53))
	if err != nil {
		link.Close()
		return nil, fmt.Errorf("open the name server outside: %w", err)
	}
	i.server = &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(answer)}
	g.Go("name server outside", func() { _ = i.server.ActivateAndServe() })
	return i, nil
}

func (i *internet) close() {
	_ = i.server.ShutdownContext(context.Background())
	i.link.Close()
}

// answer gives every name one address (RFC 5737), and knows nothing else.
func answer(w dns.ResponseWriter, q *dns.Msg) {
	r := new(dns.Msg).SetReply(q)
	if len(q.Question) != 1 || q.Question[0].Qtype != dns.TypeA {
		_ = w.WriteMsg(r)
		return
	}
	r.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1),
	}}
	_ = w.WriteMsg(r)
}
