package dhcp

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/services/dhcp/engine"
	"helperd/services/dhcp/packet"
)

// offerFrom broadcasts another server's offer on the links of a namespace.
func offerFrom(t *testing.T, ns *netns.NS, broadcast string) {
	t.Helper()
	ns.Do(t, func() {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: packet.ServerPort})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sendOffer(t, c, broadcast)
	})
}

func sendOffer(t *testing.T, c *net.UDPConn, broadcast string) {
	t.Helper()
	if _, err := c.WriteTo(otherOffer(t), &net.UDPAddr{IP: net.ParseIP(broadcast), Port: packet.ClientPort}); err != nil {
		t.Fatal(err)
	}
}

// otherOffer is an offer of 192.168.67.77.
func otherOffer(t *testing.T) []byte {
	t.Helper()
	offer, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithYourIP(net.IPv4(192, 168, 67, 200)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 168, 67, 77))))
	if err != nil {
		t.Fatal(err)
	}
	offer.OpCode = dhcpv4.OpcodeBootReply
	return offer.ToBytes()
}

func TestForeignServerIsHeard(t *testing.T) {
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	cli.Up(t, "eth0", "192.168.67.77/24")
	offerFrom(t, cli, "192.168.67.255")
	p.until("status", contains("another DHCP server, 192.168.67.77 (MAC "))
	p.until("status", contains(`"state":"degraded"`))
}

// What is tagged for a VLAN is another link: its server must not lock out the clients of the untagged one.
func TestServerOfAnotherVLAN(t *testing.T) {
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	m := otherOffer(t)
	ip := append(make([]byte, packet.Headers), m...)
	packet.Frame(ip, netip.MustParseAddrPort("192.168.67.77:67"), netip.MustParseAddrPort("255.255.255.255:68"))
	tagged := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 77, 0x81, 0, 0, 20, 8, 0}, ip...)
	cli.Do(t, func() {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Ifindex: ifi.Index, Protocol: htons(unix.ETH_P_8021Q), Halen: 6}
		for range 3 {
			if err := unix.Sendto(fd, tagged, 0, to); err != nil {
				t.Fatal(err)
			}
		}
	})
	time.Sleep(100 * time.Millisecond)
	if got := p.do("status"); !strings.Contains(got, `"state":"up"`) {
		t.Errorf("status %s", got)
	}
}

// A client that chose another server makes this one look for it. One that is
// there shows itself; a forged word locks nobody out.
func TestHearsayIsProbed(t *testing.T) {
	t.Parallel()
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	cli.Up(t, "eth0", "192.168.67.77/24")
	cli.Do(t, func() {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: packet.ServerPort})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		awaitProbe(t, c) // there is one at the start
		word, err := dhcpv4.New(dhcpv4.WithHwAddr([]byte{2, 0, 0, 0, 0, 9}), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 168, 67, 77))), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 168, 67, 200))))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteTo(word.ToBytes(), &net.UDPAddr{IP: net.IPv4(192, 168, 67, 255), Port: packet.ServerPort}); err != nil {
			t.Fatal(err)
		}
		back := awaitProbe(t, c)
		if got := p.do("status"); !strings.Contains(got, `"state":"up"`) {
			t.Errorf("one packet locked the pool: %s", got)
		}
		// A relay that brings the probe back gets no answer, and it is no event.
		back.GatewayIPAddr = net.IPv4(192, 168, 67, 77)
		if _, err := c.WriteTo(back.ToBytes(), serverAddr); err != nil {
			t.Fatal(err)
		}
		sendOffer(t, c, "192.168.67.255")
	})
	p.until("status", contains("another DHCP server, 192.168.67.77 (MAC "))
	if got := p.do("events"); strings.Count(got, "dhcp.foreign") != 2 || strings.Count(got, `"kind"`) != 2 {
		t.Errorf("want one event of the word and one of the server: %s", got)
	}
}

// awaitProbe gives the next DISCOVER that comes from no machine.
func awaitProbe(t *testing.T, c *net.UDPConn) *dhcpv4.DHCPv4 {
	t.Helper()
	b := make([]byte, 2048)
	for {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, from, err := c.ReadFromUDP(b)
		if err != nil {
			t.Fatalf("no probe: %v", err)
		}
		if d, err := dhcpv4.FromBytes(b[:n]); err == nil && d.MessageType() == dhcpv4.MessageTypeDiscover {
			if !d.IsBroadcast() || !from.IP.IsUnspecified() || from.Port != packet.ClientPort || d.ClientHWAddr.String() == "00:00:00:00:00:00" {
				t.Errorf("probe from %s: %s", from, d.Summary())
			}
			return d
		}
	}
}

// An address that comes to this machine after the server is given to nobody.
func TestOwnAddressIsNotGiven(t *testing.T) {
	t.Parallel()
	srv, cli := lan(t)
	startProcess(t, srv, t.TempDir(), "lan")
	srv.IP(t, "address", "add", "192.168.67.100/24", "dev", "eth0")
	cli.Up(t, "eth0", "192.168.67.250/24")
	r := &relay{t: t, ns: cli, addr: netip.MustParseAddr("192.168.67.250")}
	cli.Do(t, func() {
		var err error
		if r.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: r.addr.AsSlice(), Port: packet.ServerPort}); err != nil {
			t.Fatal(err)
		}
	})
	defer r.conn.Close()
	time.Sleep(2500 * time.Millisecond) // interfaces are looked at once a second
	r.send(macOf(1), dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 168, 67, 100))))
	if got := r.receive(5 * time.Second); got == nil || got.YourIPAddr.String() != "192.168.67.101" {
		t.Errorf("offered %v", got)
	}
}

// Two interfaces that change their networks are served anew.
func TestFits(t *testing.T) {
	policy := policyOf(t, "lan")
	a, b := netip.MustParseAddr("192.168.67.2"), netip.MustParseAddr("10.67.0.2")
	places, missing := resolve(policy, []iface{{"eth0", 2, []netip.Addr{a}}, {"eth1", 3, []netip.Addr{b}}})
	g := &generation{links: map[*port][]*engine.Subnet{}, missing: missing}
	for _, at := range places {
		g.links[&port{device: at.device, index: at.index}] = at.subnets
	}
	if !g.fits(places, missing) {
		t.Error("it does not fit what it was made for")
	}
	if g.fits(resolve(policy, []iface{{"eth0", 2, []netip.Addr{b}}, {"eth1", 3, []netip.Addr{a}}})) {
		t.Error("the networks of two interfaces changed places, and nobody noticed")
	}
}

// Neither reloads nor interfaces that come and go leave anything behind.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	held := func() (fds, goroutines int) {
		if _, err := fmt.Sscan(p.do("held"), &fds, &goroutines); err != nil {
			t.Fatal(err)
		}
		return fds, goroutines
	}
	var fds, goroutines int
	for range 50 { // until all that belongs to it has started
		f, g := held()
		fds, goroutines = max(fds, f), max(goroutines, g)
		time.Sleep(10 * time.Millisecond)
	}
	for i := range 200 {
		if got := p.do("plan " + []string{"more", "relays", "off", "lan"}[i%4]); got != "ok" {
			t.Fatal(got)
		}
	}
	srv.IP(t, "link", "del", "eth0")
	p.until("status", contains("no interface has an address in network"))
	srv.IP(t, "link", "add", "name", "eth0", "type", "veth", "peer", "name", "eth0", "netns", cli.Name)
	srv.Up(t, "eth0", "192.168.67.2/24")
	p.until("status", contains(`"state":"up"`))
	p.until("check", func(s string) bool { return s == "<nil>" })
	p.until("held", func(string) bool { f, g := held(); return f <= fds && g <= goroutines })
}

// An interface that comes after the server, and one that is made anew under its name, are served.
func TestInterfacesComeAndGo(t *testing.T) {
	t.Parallel()
	srv := netns.New(t)
	p := startProcess(t, srv, t.TempDir(), "named")
	if got := p.do("status"); !strings.Contains(got, "interface eth0 of network 192.168.67.0/24 is not there") {
		t.Errorf("status %s", got)
	}
	for range 2 {
		cli := netns.New(t)
		srv.IP(t, "link", "add", "name", "eth0", "type", "veth", "peer", "name", "eth0", "netns", cli.Name)
		srv.Up(t, "eth0", "192.168.67.2/24")
		cli.Up(t, "eth0", "192.168.67.250/24")
		p.until("status", func(s string) bool {
			return !strings.Contains(s, "is not there") && !strings.Contains(s, "is a new one")
		})
		p.until("check", func(s string) bool { return s == "<nil>" })
		r := &relay{t: t, ns: cli, addr: netip.MustParseAddr("192.168.67.250")}
		cli.Do(t, func() {
			var err error
			if r.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: r.addr.AsSlice(), Port: 67}); err != nil {
				t.Fatal(err)
			}
		})
		var got *dhcpv4.DHCPv4
		for range 50 { // interfaces are looked at once a second
			r.send(nodeMAC, dhcpv4.MessageTypeDiscover)
			if got = r.receive(200 * time.Millisecond); got != nil {
				break
			}
		}
		if got == nil || got.YourIPAddr.String() != "192.168.67.10" {
			t.Errorf("offer on the interface that came: %v", got)
		}
		_ = r.conn.Close()
		srv.IP(t, "link", "del", "eth0")
	}
}
