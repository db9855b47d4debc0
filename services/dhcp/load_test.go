package dhcp

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/state"
)

// relay poses as a DHCP relay with many clients behind it.
type relay struct {
	t    *testing.T
	ns   *netns.NS
	conn *net.UDPConn
	addr netip.Addr
}

var serverAddr = &net.UDPAddr{IP: net.IPv4(192, 168, 67, 2), Port: 67}

// newRelay gives a server's namespace and a relay in one of its own, with an
// address in each of two networks that the server reaches through it.
func newRelay(t *testing.T, addr string) (*netns.NS, *relay) {
	t.Helper()
	srv, cli := netns.New(t), netns.New(t)
	// The server's address is not the first of its interface: answers must come from it all the same.
	netns.Link(t, srv, cli, "192.168.67.9/24", "192.168.67.250/24")
	srv.IP(t, "address", "add", "192.168.67.2/24", "dev", "eth0")
	cli.IP(t, "address", "add", "10.67.0.1/16", "dev", "lo")
	cli.IP(t, "address", "add", "10.30.8.1/26", "dev", "lo")
	srv.IP(t, "route", "add", "10.0.0.0/8", "via", "192.168.67.250")
	r := &relay{t: t, ns: cli, addr: netip.MustParseAddr(addr)}
	cli.Do(t, func() {
		var err error
		if r.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: r.addr.AsSlice(), Port: 67}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = r.conn.Close() })
	_ = r.conn.SetReadBuffer(1 << 20)
	return srv, r
}

func (r *relay) send(mac plan.MAC, typ dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	r.t.Helper()
	d, err := dhcpv4.New(append(mods, dhcpv4.WithHwAddr(mac[:]), dhcpv4.WithMessageType(typ), dhcpv4.WithRelay(r.addr.AsSlice()))...)
	if err != nil {
		r.t.Fatal(err)
	}
	_, _ = r.conn.WriteToUDP(d.ToBytes(), serverAddr) // a server that was killed refuses it
	return d
}

// receive gives the next answer, or nil after the time.
func (r *relay) receive(within time.Duration) *dhcpv4.DHCPv4 {
	r.t.Helper()
	b := make([]byte, 2048)
	_ = r.conn.SetReadDeadline(time.Now().Add(within))
	for {
		n, from, err := r.conn.ReadFromUDP(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			continue // an ICMP error of a killed server
		}
		if from.String() != serverAddr.String() {
			r.t.Fatalf("an answer came from %s, not from %s", from, serverAddr)
		}
		d, err := dhcpv4.FromBytes(b[:n])
		if err != nil {
			r.t.Fatal(err)
		}
		return d
	}
}

func selecting(offer *dhcpv4.DHCPv4) []dhcpv4.Modifier {
	return []dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(serverAddr.IP)), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr)),
	}
}

// storm keeps up to window clients busy until each of count MACs from first on
// has its address, or until stop says so; acked is told of every ACK.
func (r *relay) storm(first, count, window int, stop func() bool, acked func(plan.MAC, netip.Addr)) (lost int) {
	r.t.Helper()
	next, done, flying := first, 0, 0
	for done < count && !stop() {
		for ; flying < window && next < first+count; next++ {
			r.send(macOf(next), dhcpv4.MessageTypeDiscover)
			flying++
		}
		d := r.receive(5 * time.Second)
		if d == nil {
			return count - done
		}
		mac := plan.MAC(d.ClientHWAddr)
		switch d.MessageType() {
		case dhcpv4.MessageTypeOffer:
			r.send(mac, dhcpv4.MessageTypeRequest, selecting(d)...)
		case dhcpv4.MessageTypeAck:
			addr, _ := netip.AddrFromSlice(d.YourIPAddr.To4())
			acked(mac, addr)
			done++
			flying--
		default:
			r.t.Fatalf("%s for %s", d.MessageType(), mac)
		}
	}
	return count - done
}

func macOf(i int) plan.MAC {
	m := plan.MAC{2, 0x10}
	binary.BigEndian.PutUint32(m[2:], uint32(i))
	return m
}

func never() bool { return false }

func TestRelayedNode(t *testing.T) {
	for _, plan := range []string{"lan", "relays"} {
		t.Run(plan, func(t *testing.T) {
			srv, r := newRelay(t, "10.30.8.1")
			p := startProcess(t, srv, t.TempDir(), plan)
			r.send(edgeMAC, dhcpv4.MessageTypeDiscover)
			if got := r.receive(5 * time.Second); got == nil || got.YourIPAddr.String() != "10.30.8.10" {
				t.Errorf("offer through a relay: %v", got)
			}
			r.send(macOf(1), dhcpv4.MessageTypeDiscover)
			p.until("events", contains("is in no node of helper.yaml; add it or give the network a pool"))
			// A renewal goes to the server without the relay, and comes back the same way.
			d, err := dhcpv4.New(dhcpv4.WithHwAddr(edgeMAC[:]), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithClientIP(net.IPv4(10, 30, 8, 10)))
			if err != nil {
				t.Fatal(err)
			}
			var c *net.UDPConn
			r.ns.IP(t, "address", "add", "10.30.8.10/32", "dev", "lo")
			r.ns.Do(t, func() {
				c, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 30, 8, 10), Port: 68}, serverAddr) // hears nobody else
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write(d.ToBytes()); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
			b := make([]byte, 2048)
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("renewal through a router: %v", err)
			}
			if got, err := dhcpv4.FromBytes(b[:n]); err != nil || got.MessageType() != dhcpv4.MessageTypeAck {
				t.Errorf("renewal through a router: %v, %v", got, err)
			}
		})
	}
}

// Two capabilities are all that the service needs.
func TestCapabilities(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "setpriv")
	srv, r := newRelay(t, "10.67.0.1")
	caps := "-all,+net_raw,+net_bind_service"
	p := startProcess(t, srv, t.TempDir(), "lan", "setpriv", "--inh-caps", caps, "--bounding-set", caps)
	if lost := r.storm(0, 200, 200, never, func(plan.MAC, netip.Addr) {}); lost != 0 {
		t.Errorf("%d of 200 clients that ask at once got no answer", lost)
	}
	if got := p.do("status"); !strings.Contains(got, `"state":"up"`) {
		t.Errorf("status %s", got)
	}
}

// A reload in the middle of a storm loses nothing: every DISCOVER and every
// REQUEST is answered without being sent again.
func TestReloadUnderLoad(t *testing.T) {
	srv, r := newRelay(t, "10.67.0.1")
	p := startProcess(t, srv, t.TempDir(), "lan")
	given := map[netip.Addr]plan.MAC{}
	const count = 2000
	lost := r.storm(0, count, 16, never, func(mac plan.MAC, addr netip.Addr) {
		if old, ok := given[addr]; ok {
			t.Errorf("%s was given to %s and %s", addr, old, mac)
		}
		given[addr] = mac
		if len(given)%100 == 0 {
			name := []string{"more", "lan", "relays"}[len(given)/100%3]
			if got := p.do("plan " + name); got != "ok" {
				t.Fatal(got)
			}
		}
	})
	if lost != 0 || len(given) != count {
		t.Errorf("%d of %d clients got no address, %d addresses were given", lost, count, len(given))
	}
	var leases []state.Lease
	if err := json.Unmarshal([]byte(p.do("leases")), &leases); err != nil && !strings.Contains(err.Error(), "state") {
		t.Fatal(err)
	}
	p.stop()
}

// A panic in one batch ends neither the reader nor the service.
func TestPanicIsSurvived(t *testing.T) {
	srv, r := newRelay(t, "10.30.8.1")
	p := startProcess(t, srv, t.TempDir(), "lan")
	p.do("fuse")
	r.send(edgeMAC, dhcpv4.MessageTypeDiscover) // lost: it blows the fuse
	if got := r.receive(200 * time.Millisecond); got != nil {
		t.Fatalf("the fuse did not blow: %v", got)
	}
	p.until("check", func(s string) bool { return s == "<nil>" })
	r.send(edgeMAC, dhcpv4.MessageTypeDiscover)
	if got := r.receive(2 * time.Second); got == nil {
		t.Error("no answer after a panic")
	}
}
