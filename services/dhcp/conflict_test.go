package dhcp

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/internal/netns"
)

// station is the client's end of a link, with many machines at it: it sends and
// receives DHCP with an address on that link, as a relay does.
func station(t *testing.T, cli *netns.NS, addr string) *relay {
	t.Helper()
	prefix := netip.MustParsePrefix(addr)
	cli.Up(t, "eth0", addr)
	r := &relay{t: t, ns: cli, addr: prefix.Addr()}
	cli.Do(t, func() {
		var err error
		if r.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: r.addr.AsSlice(), Port: 67}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = r.conn.Close() })
	return r
}

// A machine that sits on addresses of the pool without a lease keeps them; its
// MAC is told, and clients get other addresses.
func TestConflictIsFound(t *testing.T) {
	t.Parallel()
	srv, cli := lan(t)
	cli.Up(t, "eth0", "192.168.67.100/24", "192.168.67.101/24")
	r := station(t, cli, "192.168.67.250/24")
	p := startProcess(t, srv, t.TempDir(), "lan")
	p.until("status", contains("192.168.67.100 (MAC "))
	p.until("status", contains("192.168.67.101 (MAC "))
	r.send(macOf(1), dhcpv4.MessageTypeDiscover)
	if got := r.receive(5 * time.Second); got == nil || got.YourIPAddr.String() != "192.168.67.102" {
		t.Errorf("offered %v", got)
	}
	if got := p.do("events"); strings.Count(got, `"dhcp.conflict"`) != 2 {
		t.Errorf("events %s", got)
	}
	if n := p.status().Counters["conflict"]; n != 2 {
		t.Errorf("%d conflicts counted", n)
	}
	p.until("leases", contains("192.168.67.100"))
}

// An offer of an address that was not probed ahead waits for its probe and
// comes once, for the last request; if somebody has the address the client gets another.
func TestOfferWaitsOnce(t *testing.T) {
	t.Parallel()
	srv, cli := lan(t)
	srv.IP(t, "address", "add", "10.67.0.2/16", "dev", "eth0")
	cli.Up(t, "eth0", "10.67.200.2/16")
	r := station(t, cli, "10.67.0.1/16")
	cli.IP(t, "route", "add", "192.168.67.2/32", "dev", "eth0", "src", "10.67.0.1")
	p := startProcess(t, srv, t.TempDir(), "lan")
	want := func(last byte) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 67, 200, last)))
	}
	began := time.Now()
	r.send(macOf(1), dhcpv4.MessageTypeDiscover, want(1))
	last := r.send(macOf(1), dhcpv4.MessageTypeDiscover, want(1))
	got := r.receive(5 * time.Second)
	if took := time.Since(began); got == nil || got.TransactionID != last.TransactionID || got.YourIPAddr.String() != "10.67.200.1" || took < probeWait {
		t.Errorf("after %s came %v, want an offer of what it asked for, for the last request", took, got)
	}
	if got := r.receive(2 * probeWait); got != nil {
		t.Errorf("one offer too many: %v", got)
	}
	r.send(macOf(2), dhcpv4.MessageTypeDiscover, want(2))
	if got := r.receive(5 * time.Second); got == nil || got.YourIPAddr.String() == "10.67.200.2" {
		t.Errorf("offered %v", got)
	}
	p.until("status", contains("10.67.200.2 (MAC "))
}
