package ghost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wire is what connects a node: a Link of its own, or a seat on one that it shares.
type wire interface {
	Do(fn func() error) error
	Flush() error
	Configure(p netip.Prefix, gateway netip.Addr) error
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	Listen(address netip.AddrPort) (net.Listener, error)
	ListenPacket(address netip.AddrPort) (*net.UDPConn, error)
	Close()
}

// seat is the place of one machine on a link that many share. DHCP sees its
// own MAC and all that follows its own address, which is answered for by the
// MAC of the link. Hundreds of machines cost one namespace, and a broadcast is
// one packet and not one for each of them. Answers of DHCP have to come by
// broadcast: for the others some servers put the machine's own MAC into their
// neighbour table, and would send there all that follows.
type seat struct {
	*Link
	addr netip.Addr
}

// Close takes the machine's address away. The link belongs to others, too.
func (s *seat) Close() { _ = s.Flush() }

// Flush takes the machine's address from the link.
func (s *seat) Flush() error {
	if !s.addr.IsValid() {
		return nil
	}
	addr := s.addr
	s.addr = netip.Addr{}
	return s.Do(func() error {
		ifi, err := netlink.LinkByName(linkName)
		if err != nil {
			return err
		}
		return netlink.AddrDel(ifi, single(addr))
	})
}

// Configure gives the link one more address, and the routes of its network.
func (s *seat) Configure(p netip.Prefix, gateway netip.Addr) error {
	err := s.Do(func() error {
		ifi, err := netlink.LinkByName(linkName)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(ifi, single(p.Addr())); err != nil {
			return fmt.Errorf("set %s: %w", p.Addr(), err)
		}
		local := p.Masked()
		subnet := &net.IPNet{IP: local.Addr().AsSlice(), Mask: net.CIDRMask(local.Bits(), local.Addr().BitLen())}
		routes := []*netlink.Route{{LinkIndex: ifi.Attrs().Index, Dst: subnet, Scope: netlink.SCOPE_LINK}}
		if gateway.IsValid() {
			routes = append(routes, &netlink.Route{LinkIndex: ifi.Attrs().Index, Gw: gateway.AsSlice()})
		}
		for _, r := range routes {
			if err := netlink.RouteAdd(r); err != nil && !errors.Is(err, syscall.EEXIST) { // another machine was first
				return fmt.Errorf("set the route %s: %w", r, err)
			}
		}
		return announce(ifi, p.Addr())
	})
	if err == nil {
		s.addr = p.Addr()
	}
	return err
}

// announce tells the link who has addr (RFC 5227 section 2.3). A machine of its own asks for the
// MAC of the server before its first packet, and the server knows it from then on; those that share
// a link share what it knows, and would be asked for only when the server looks again, up to a second later.
func announce(ifi netlink.Link, addr netip.Addr) error {
	if !addr.Is4() {
		return nil
	}
	const arp, request = unix.ETH_P_ARP, 1
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("announce %s: %w", addr, err)
	}
	defer func() { _ = unix.Close(fd) }()
	mac, ip := ifi.Attrs().HardwareAddr, addr.AsSlice()
	message := []byte{0, 1, 8, 0, 6, 4, 0, request} // Ethernet, IPv4 and the lengths of both (RFC 826)
	message = slices.Concat(message, mac, ip, make([]byte, len(mac)), ip)
	to := &unix.SockaddrLinklayer{Protocol: arp<<8&0xff00 | arp>>8, Ifindex: ifi.Attrs().Index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	if err := unix.Sendto(fd, message, 0, to); err != nil {
		return fmt.Errorf("announce %s: %w", addr, err)
	}
	return nil
}

// single is an address without a network: each on its own, so that none goes with another.
func single(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
}

// Dial connects from the machine's own address.
func (s *seat) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialFor, LocalAddr: &net.TCPAddr{IP: s.addr.AsSlice()}}
	if network == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: s.addr.AsSlice()}
	}
	return s.dial(ctx, d, network, address)
}

// dialFor is how long a connection may take.
const dialFor = 5 * time.Second
