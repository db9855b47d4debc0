package ghost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkName is the name of the interface inside a link's namespace.
const linkName = "eth0"

// A Link is a network interface in a network namespace of its own, with a
// cable (a veth pair) to a bridge of the namespace it was made in. Making one
// needs CAP_NET_ADMIN and CAP_SYS_ADMIN, if only in a user namespace.
type Link struct {
	ns   int    // descriptor of the namespace
	port string // the other end of the cable
}

// Plug makes a link with hardware address mac whose other end is a port of bridge.
func Plug(bridge string, mac net.HardwareAddr) (*Link, error) {
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return nil, fmt.Errorf("find bridge %s: %w", bridge, err)
	}
	ns, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	l := &Link{ns: ns, port: fmt.Sprintf("g%x", []byte(mac))}
	if err := l.connect(master, mac); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Link) connect(master netlink.Link, mac net.HardwareAddr) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = l.port
	attrs.MasterIndex = master.Attrs().Index
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: linkName, PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(l.ns)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("make the cable %s: %w", l.port, err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return fmt.Errorf("switch on %s: %w", l.port, err)
	}
	err := l.Do(func() error {
		for _, name := range []string{"lo", linkName} {
			ifi, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(ifi); err != nil {
				return fmt.Errorf("switch on %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.Do(func() error { return carrier(linkName) }); err != nil {
		return err
	}
	return errors.Join(carrier(l.port), carrier(master.Attrs().Name))
}

// carrier waits until an interface passes packets. The kernel takes up to a
// second to see that a cable was plugged in, and a bridge as long again; what
// is sent before is lost.
func carrier(name string) error {
	const longest, pause = 5 * time.Second, 5 * time.Millisecond
	for range longest / pause {
		ifi, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if ifi.Attrs().OperState == netlink.OperUp {
			return nil
		}
		time.Sleep(pause)
	}
	return fmt.Errorf("%s has no carrier after %s", name, longest)
}

// Close removes the interface and the namespace; sockets in it are cut off.
func (l *Link) Close() {
	_ = l.Do(func() error {
		ifi, err := netlink.LinkByName(linkName)
		if err != nil {
			return err
		}
		return netlink.LinkDel(ifi) // both ends of the cable
	})
	_ = unix.Close(l.ns)
}

// Do runs fn on a thread that is in the link's namespace. Sockets that fn
// opens stay there; fn must open them itself and not in another goroutine.
func (l *Link) Do(fn func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = unix.Close(home) }()
	if err := unix.Setns(l.ns, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the namespace: %w", err)
	}
	err = fn()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		// The thread stays locked and ends with its goroutine: it must not serve others.
		return errors.Join(err, fmt.Errorf("leave the namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// newNamespace makes a network namespace and gives a descriptor of it.
func newNamespace() (int, error) {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return -1, err
	}
	defer func() { _ = unix.Close(home) }()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return -1, err
	}
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		return -1, errors.Join(err, fmt.Errorf("leave the new namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return ns, err
}

// Flush takes all IPv4 addresses, and with them the routes, from the interface, as a reset does.
func (l *Link) Flush() error {
	return l.Do(func() error {
		ifi, err := netlink.LinkByName(linkName)
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(ifi, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if err := netlink.AddrDel(ifi, &a); err != nil {
				return err
			}
		}
		return nil
	})
}

// Configure gives the interface an address and, when gateway is valid, a default route.
func (l *Link) Configure(p netip.Prefix, gateway netip.Addr) error {
	return l.Do(func() error {
		ifi, err := netlink.LinkByName(linkName)
		if err != nil {
			return err
		}
		ipnet := net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		if err := netlink.AddrAdd(ifi, &netlink.Addr{IPNet: &ipnet}); err != nil {
			return fmt.Errorf("set %s: %w", p, err)
		}
		if !gateway.IsValid() {
			return nil
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: ifi.Attrs().Index, Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("set the default route to %s: %w", gateway, err)
		}
		return nil
	})
}

// Dial connects from inside the namespace. The address is a number.
func (l *Link) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return l.dial(ctx, net.Dialer{Timeout: dialFor}, network, address)
}

func (l *Link) dial(ctx context.Context, d net.Dialer, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, err
	}
	d.SetMultipathTCP(false)
	var c net.Conn
	err := l.Do(func() (err error) {
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listen opens a TCP listener inside the namespace.
func (l *Link) Listen(address netip.AddrPort) (net.Listener, error) {
	var ln net.Listener
	err := l.Do(func() (err error) {
		ln, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(address))
		return err
	})
	return ln, err
}

// ListenPacket opens a UDP socket inside the namespace.
func (l *Link) ListenPacket(address netip.AddrPort) (*net.UDPConn, error) {
	var c *net.UDPConn
	err := l.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
		return err
	})
	return c, err
}
