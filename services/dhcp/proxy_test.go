package dhcp

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/internal/netns"
	"helperd/services/dhcp/packet"
)

// siteServer runs dnsmasq in a namespace as the DHCP server of the network,
// until the test ends. It looks three seconds whether an address is free before it offers it.
func siteServer(t *testing.T, ns *netns.NS) {
	t.Helper()
	netns.Tools(t, "dnsmasq")
	ns.Up(t, "eth0", "192.168.67.1/24")
	cmd := ns.Exec("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--user=root", "--port=0", "--pid-file=",
		"--dhcp-authoritative", "--interface=eth0", "--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"),
		"--dhcp-range=192.168.67.10,192.168.67.20,255.255.255.0,1h")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// within repeats a question until the answer is as wanted, as p.until for what takes longer.
func (p *process) within(limit time.Duration, line string, want func(string) bool) {
	p.t.Helper()
	got := ""
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = p.do(line); want(got) {
			return
		}
	}
	p.t.Fatalf("%s: still %s", line, got)
}

// A network with mode proxy needs a DHCP server: its absence is a problem, its
// presence a note with its MAC.
func TestNetworkWithoutServer(t *testing.T) {
	t.Parallel()
	netns.Require(t)
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "proxy")
	p.within(time.Minute, "status", contains("mode proxy on network 192.168.67.0/24, and no DHCP server answered on eth0"))
	siteServer(t, cli)
	p.within(2*time.Minute, "status", contains("DHCP server 192.168.67.1 (MAC "))
	if got := p.do("status"); !strings.Contains(got, `"state":"up"`) || strings.Contains(got, "stop it") {
		t.Errorf("the network's own server is no problem: %s", got)
	}
	if got := p.do("events"); strings.Contains(got, "dhcp.foreign") || strings.Count(got, "dhcp.site") != 1 {
		t.Errorf("want one event of the server: %s", got)
	}
}

// Another proxy is a problem in mode server and in mode proxy: it is heard when it offers a machine something to boot.
func TestOtherProxyIsHeard(t *testing.T) {
	t.Parallel()
	netns.Require(t)
	for _, mode := range []string{"lan", "proxy"} {
		srv, cli := lan(t)
		p := startProcess(t, srv, t.TempDir(), mode)
		cli.Up(t, "eth0", "192.168.67.77/24")
		cli.Do(t, func() {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: packet.ServerPort})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			offer, err := dhcpv4.FromBytes(otherOffer(t))
			if err != nil {
				t.Fatal(err)
			}
			offer.YourIPAddr = net.IPv4zero
			if _, err := c.WriteTo(offer.ToBytes(), &net.UDPAddr{IP: net.IPv4(192, 168, 67, 255), Port: packet.ClientPort}); err != nil {
				t.Fatal(err)
			}
		})
		got := p.until("status", contains("another server, 192.168.67.77 (MAC "))
		if strings.Contains(got, "only machines in helper.yaml") || strings.Contains(got, "gives the addresses") {
			t.Errorf("%s: a proxy gives no addresses: %s", mode, got)
		}
		if events := p.do("events"); strings.Count(events, "dhcp.foreign") != 1 {
			t.Errorf("%s: events %s", mode, events)
		}
	}
}

// bound4011 reports whether somebody in ns has port 4011.
func bound4011(t *testing.T, ns *netns.NS) (bound bool) {
	t.Helper()
	ns.Do(t, func() {
		b, err := os.ReadFile("/proc/thread-self/net/udp")
		if err != nil {
			t.Fatal(err)
		}
		bound = strings.Contains(string(b), ":0FAB ")
	})
	return bound
}

// Modes change on the running server: from server to proxy, off and back.
func TestModesReload(t *testing.T) {
	t.Parallel()
	netns.Require(t)
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	setMAC(t, cli, nodeMAC)
	cli.Up(t, "eth0", "192.168.67.10/24")
	mods := []dhcpv4.Modifier{
		dhcpv4.WithHwAddr(nodeMAC[:]), dhcpv4.WithGeneric(dhcpv4.OptionClassIdentifier, []byte("PXEClient:Arch:00007:UNDI:003000")),
		dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 7}),
	}
	discover := func() *dhcpv4.DHCPv4 {
		return talk(t, cli, packet.ClientPort, "192.168.67.255:67", append(mods, dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), dhcpv4.WithBroadcast(true))...)
	}
	ask4011 := func() *dhcpv4.DHCPv4 {
		return talk(t, cli, packet.ProxyPort, "192.168.67.2:4011", append(mods, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithClientIP(net.IPv4(192, 168, 67, 10)))...)
	}
	for _, step := range []struct{ plan, address, file string }{
		{"lan", "192.168.67.10", ""},
		{"proxy", "0.0.0.0", "snponly.efi"},
		{"mode off", "", ""},
		{"proxy", "0.0.0.0", "snponly.efi"},
		{"lan", "192.168.67.10", ""},
	} {
		if got := p.do("plan " + step.plan); got != "ok" {
			t.Fatalf("plan %s: %s", step.plan, got)
		}
		p.until("check", func(s string) bool { return s == "<nil>" })
		address, file := "", ""
		if offer := discover(); offer != nil {
			address = offer.YourIPAddr.String()
		}
		if ack := ask4011(); ack != nil {
			file = ack.BootFileName
		}
		if address != step.address || file != step.file {
			t.Errorf("plan %s: offer of address %q, want %q; on port 4011 file %q, want %q", step.plan, address, step.address, file, step.file)
		}
		if bound := bound4011(t, srv); bound != (step.plan == "proxy") {
			t.Errorf("plan %s: port 4011 is bound: %v", step.plan, bound)
		}
	}
}

// talk sends a message from a port of the machine in ns and gives the answer to it, or nil.
func talk(t *testing.T, ns *netns.NS, port int, to string, mods ...dhcpv4.Modifier) (answer *dhcpv4.DHCPv4) {
	t.Helper()
	m, err := dhcpv4.New(mods...)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := net.ResolveUDPAddr("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	ns.Do(t, func() {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b := make([]byte, 2048)
		// A first packet may come before the reader of a new socket; a refusal by ICMP is silence too.
		for range 4 {
			if _, err := c.WriteTo(m.ToBytes(), dst); err != nil {
				t.Fatal(err)
			}
			for _ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); ; {
				n, err := c.Read(b)
				if err != nil {
					break
				}
				if got, err := dhcpv4.FromBytes(b[:n]); err == nil && got.TransactionID == m.TransactionID && got.OpCode == dhcpv4.OpcodeBootReply {
					answer = got
					return
				}
			}
		}
	})
	return answer
}
