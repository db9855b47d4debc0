package dhcp

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/services"
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

// A server that is killed in a storm, again and again, forgets no lease that
// it acknowledged and gives none of them to somebody else.
func TestKilledServerForgetsNothing(t *testing.T) {
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("HELPERD_KILLS")); err == nil {
		rounds = n
	}
	srv, r := newRelay(t, "10.67.0.1")
	dir := t.TempDir()
	given := map[netip.Addr]plan.MAC{}
	for round := range rounds {
		p := startProcess(t, srv, dir, "lan")
		before := len(given)
		end := 20 + rand.IntN(300) // the ACK after which the power goes
		r.storm(round*10000, 1000, 32, func() bool { return len(given)-before >= end }, func(mac plan.MAC, addr netip.Addr) {
			if old, ok := given[addr]; ok && old != mac {
				t.Errorf("round %d: %s was given to %s and %s", round, addr, old, mac)
			}
			given[addr] = mac
		})
		p.kill()
		for r.receive(20*time.Millisecond) != nil { // what was sent before the end; it counts too
			continue
		}
		store, err := state.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		leases, err := store.Leases()
		if err != nil {
			t.Fatal(err)
		}
		stored := map[netip.Addr]state.Lease{}
		for _, l := range leases {
			stored[l.Address] = l
		}
		for addr, mac := range given {
			if l, ok := stored[addr]; !ok || l.MAC != mac || time.Until(l.Expires) < 50*time.Minute {
				t.Errorf("round %d: %s was acknowledged to %s, the disk has %+v", round, addr, mac, l)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(given) < 20*rounds {
		t.Errorf("only %d leases in %d rounds", len(given), rounds)
	}
}

// The order of system calls: between the REQUEST of a pool client and its ACK
// the state file is synchronised, data and root page.
func TestAckAfterSync(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "strace")
	srv, r := newRelay(t, "10.67.0.1")
	trace := filepath.Join(t.TempDir(), "trace")
	p := startProcess(t, srv, t.TempDir(), "lan", "strace", "-f", "-qq", "-xx", "-s", "400", "-o", trace, "-e", "trace=recvmmsg,sendmmsg,fdatasync")
	const clients = 10
	if lost := r.storm(0, clients, 1, never, func(plan.MAC, netip.Addr) {}); lost != 0 {
		t.Fatalf("%d clients got nothing", lost)
	}
	p.stop()
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	request := regexp.MustCompile(`recvmmsg.*\\x35\\x01\\x03`)
	ack := regexp.MustCompile(`sendmmsg.*\\x35\\x01\\x05`)
	synced := regexp.MustCompile(`fdatasync(\(.*| resumed.*)= 0`)
	syncs, acks := 0, 0
	for _, line := range strings.Split(string(b), "\n") {
		switch {
		case request.MatchString(line):
			syncs = 0
		case synced.MatchString(line):
			syncs++
		case ack.MatchString(line):
			acks++
			if syncs < 2 {
				t.Errorf("an ACK was sent after %d synchronisations", syncs)
			}
		}
	}
	if acks != clients {
		t.Errorf("the trace has %d ACKs, want %d:\n%s", acks, clients, b)
	}
}

func TestForeignServerIsHeard(t *testing.T) {
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	cli.Up(t, "eth0", "192.168.67.77/24")
	cli.Do(t, func() {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: 67})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		offer, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithYourIP(net.IPv4(192, 168, 67, 200)),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 168, 67, 77))))
		if err != nil {
			t.Fatal(err)
		}
		offer.OpCode = dhcpv4.OpcodeBootReply
		if _, err := c.WriteTo(offer.ToBytes(), &net.UDPAddr{IP: net.IPv4(192, 168, 67, 255), Port: 68}); err != nil {
			t.Fatal(err)
		}
	})
	got := p.until("status", contains("another DHCP server, 192.168.67.77 (MAC "))
	var st services.Status
	if err := json.Unmarshal([]byte(got), &st); err != nil || st.State != services.Degraded {
		t.Errorf("status %s, %v", got, err)
	}
}

// An interface that comes after the server, and one that is made anew under its name, are served.
func TestInterfacesComeAndGo(t *testing.T) {
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
