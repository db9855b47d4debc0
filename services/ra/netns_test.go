package ra

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"

	"helperd/internal/netns"
	"helperd/services/servicetest"
)

const (
	plain   = `{cidr: "fd00:7::/64", gateway: "fd00:7::1", mtu: 1400, ra: true, dhcp: {mode: server}}`
	gateway = `{cidr: "fd00:7::/64", gateway: "fd00:7::2", mtu: 1400, ra: true, dhcp: {mode: server}, routes: [{to: "fd00:100::/48", via: "fd00:7::2"}]}`
	quiet   = `{cidr: "fd00:7::/64", gateway: "fd00:7::1"}`
)

// pair gives the service's namespace and that of a machine, with the address of the machine.
func pair(t *testing.T) (srv, cli *netns.NS) {
	t.Helper()
	srv, cli = netns.New(t), netns.New(t)
	netns.Link(t, srv, cli, "fd00:7::2/64", "")
	return srv, cli
}

// ear hears the router advertisements on eth0 of a namespace.
type ear struct {
	conn *ndp.Conn
	mu   sync.Mutex
	all  []*ndp.RouterAdvertisement
	hops []int
}

func listen(t *testing.T, ns *netns.NS) *ear {
	t.Helper()
	e := &ear{}
	ns.Do(t, func() {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		servicetest.Eventually(t, func() bool {
			e.conn, _, err = ndp.Listen(device(ifi.Index), ndp.LinkLocal)
			return err == nil
		}, func() string { return err.Error() })
	})
	t.Cleanup(func() { e.conn.Close() })
	var f ipv6.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv6.ICMPTypeRouterAdvertisement)
	if err := e.conn.SetICMPFilter(&f); err != nil {
		t.Fatal(err)
	}
	if err := e.conn.SetControlMessage(ipv6.FlagHopLimit, true); err != nil {
		t.Fatal(err)
	}
	go func() {
		for b := make([]byte, largest); ; {
			n, cm, _, err := e.conn.ReadRaw(b)
			if err != nil {
				return
			}
			m, err := ndp.ParseMessage(b[:n])
			if err != nil {
				t.Error(err)
				return
			}
			e.mu.Lock()
			e.all, e.hops = append(e.all, m.(*ndp.RouterAdvertisement)), append(e.hops, cm.HopLimit)
			e.mu.Unlock()
		}
	}()
	return e
}

// await gives the first advertisement that is as wanted, and forgets those before.
func (e *ear) await(t *testing.T, want func(*ndp.RouterAdvertisement) bool) *ndp.RouterAdvertisement {
	t.Helper()
	var found *ndp.RouterAdvertisement
	servicetest.Eventually(t, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for len(e.all) > 0 {
			m := e.all[0]
			if e.all = e.all[1:]; want(m) {
				found = m
				return true
			}
		}
		return false
	}, func() string { return "no such advertisement was heard" })
	return found
}

// forget drops what was heard so far.
func (e *ear) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = nil
}

func anything(*ndp.RouterAdvertisement) bool { return true }

// saying wants an advertisement with an option, as options writes it.
func saying(option string) func(*ndp.RouterAdvertisement) bool {
	return func(m *ndp.RouterAdvertisement) bool {
		return strings.Contains(strings.Join(options(m), ";"), option)
	}
}

func (e *ear) solicit(t *testing.T) {
	t.Helper()
	if err := e.conn.WriteTo(&ndp.RouterSolicitation{}, nil, allRouters); err != nil {
		t.Fatal(err)
	}
}

// routes are the machine's IPv6 routes.
func routes(t *testing.T, ns *netns.NS) string {
	t.Helper()
	return ns.Run(t, "ip", "-6", "route", "show", "dev", "eth0")
}

func awaitRoutes(t *testing.T, ns *netns.NS, want func(string) bool) {
	t.Helper()
	var got string
	servicetest.Eventually(t, func() bool { got = routes(t, ns); return want(got) }, func() string { return "routes:\n" + got })
}

// Linux is a machine on the link: it learns prefix and MTU, makes no address, and has no default route by us.
func TestKernelBelieves(t *testing.T) {
	t.Parallel()
	srv, cli := pair(t)
	p := startProcess(t, srv, file(plain))
	awaitRoutes(t, cli, servicetest.Contains("fd00:7::/64"))
	servicetest.Eventually(t, func() bool {
		return strings.TrimSpace(cli.Run(t, "cat", "/proc/sys/net/ipv6/conf/eth0/mtu")) == "1400"
	}, func() string { return "the MTU does not come" })
	if got := routes(t, cli); strings.Contains(got, "default") || !strings.Contains(got, "expires") {
		t.Errorf("routes:\n%s", got)
	}
	if got := cli.Run(t, "ip", "-6", "address", "show", "dev", "eth0", "scope", "global"); got != "" {
		t.Errorf("it made an address:\n%s", got)
	}
	p.Serving()
	if got := p.Do("status"); !strings.Contains(got, `"state":"up"`) || !strings.Contains(got, `"device":"eth0"`) {
		t.Errorf("status %s", got)
	}
}

// A default route comes and goes with the gateway's address, with the file, and with the daemon.
func TestKernelFollowsGateway(t *testing.T) {
	t.Parallel()
	srv, cli := pair(t)
	srv.Run(t, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	cli.Run(t, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra_rt_info_max_plen=64")
	p := startProcess(t, srv, file(gateway))
	// Some kernels are built without CONFIG_IPV6_ROUTE_INFO; the route itself is looked at by TestRdisc6.
	via := func(s string) bool {
		return strings.Contains(s, "default via fe80::") && strings.Contains(s, "pref high")
	}
	none := func(s string) bool { return !strings.Contains(s, "default") && strings.Contains(s, "fd00:7::/64") }
	awaitRoutes(t, cli, via)

	srv.IP(t, "address", "add", "fd00:7::3/64", "dev", "eth0")
	srv.IP(t, "address", "del", "fd00:7::2/64", "dev", "eth0")
	awaitRoutes(t, cli, none)
	srv.IP(t, "address", "add", "fd00:7::2/64", "dev", "eth0")
	awaitRoutes(t, cli, via)

	p.Must("plan " + file(quiet))
	awaitRoutes(t, cli, none)
	p.Must("plan " + file(gateway))
	awaitRoutes(t, cli, via)
	// An upgrade is not noticed, an end is.
	p.Must("export")
	p.Stop()
	if got := routes(t, cli); !via(got) {
		t.Errorf("after an upgrade:\n%s", got)
	}
	p = startProcess(t, srv, file(gateway))
	p.Serving()
	p.Until("status", servicetest.Contains(`"multicast":1`))
	p.Stop()
	awaitRoutes(t, cli, none)
}

// Who is the gateway and does not forward says so.
func TestForwardingIsOff(t *testing.T) {
	t.Parallel()
	srv, _ := pair(t)
	p := startProcess(t, srv, file(gateway))
	p.Until("status", servicetest.Contains("forwards no IPv6 packets"))
	srv.Run(t, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	p.Until("status", func(s string) bool { return !strings.Contains(s, "forwards no IPv6 packets") })
}

// Of a network that the file does not have any more, and in which nobody here has an address, the prefix is taken back.
func TestKernelForgetsWrongNetwork(t *testing.T) {
	t.Parallel()
	srv, cli := pair(t)
	p := startProcess(t, srv, file(plain, `{cidr: "fd00:77::/64", interface: eth0, gateway: "fd00:77::1", ra: true, dhcp: {mode: server}}`))
	awaitRoutes(t, cli, func(s string) bool {
		return strings.Contains(s, "fd00:7::/64") && strings.Contains(s, "fd00:77::/64")
	})
	p.Must("plan " + file(plain))
	awaitRoutes(t, cli, func(s string) bool {
		return strings.Contains(s, "fd00:7::/64") && !strings.Contains(s, "fd00:77::/64")
	})
}

func TestWire(t *testing.T) {
	t.Parallel()
	srv, cli := pair(t)
	e := listen(t, cli)
	p := startProcess(t, srv, file(plain))
	m := e.await(t, anything)
	if !m.ManagedConfiguration || !m.OtherConfiguration || m.RouterLifetime != 0 {
		t.Errorf("advertisement %+v", m)
	}
	for _, want := range []string{"mac ", "prefix fd00:7::/64 720h0m0s 168h0m0s L", "dns fd00:7::2 30m0s"} {
		if !saying(want)(m) {
			t.Errorf("no %q in %q", want, options(m))
		}
	}
	e.forget()
	e.solicit(t)
	asked := time.Now()
	e.await(t, anything)
	if took := time.Since(asked); took > 3*time.Second {
		t.Errorf("answered after %s", took)
	}
	// A changed option is told at once, with the end of the former one.
	p.Must("plan " + file(strings.Replace(plain, "ra:", `dns: ["fd00:7::53"], ra:`, 1)))
	m = e.await(t, saying("dns fd00:7::53 30m0s"))
	if !saying("dns fd00:7::2 0s")(m) {
		t.Errorf("options %q", options(m))
	}
	p.Stop()
	m = e.await(t, func(m *ndp.RouterAdvertisement) bool { return !saying("dns")(m) })
	if m.RouterLifetime != 0 || !m.ManagedConfiguration || !saying("prefix fd00:7::/64 720h0m0s")(m) {
		t.Errorf("the last one: %+v %q", m, options(m))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.hops {
		if h != 255 {
			t.Errorf("hop limit %d", h)
		}
	}
}

// tcpdump sees the last advertisement when the daemon is told to end.
func TestLastOneIsSeenByTcpdump(t *testing.T) {
	t.Parallel()
	srv, cli := pair(t)
	netns.Tools(t, "tcpdump")
	p := startProcess(t, srv, file(gateway))
	awaitRoutes(t, cli, servicetest.Contains("default via"))
	out := filepath.Join(t.TempDir(), "seen")
	dump := cli.Exec("tcpdump", "-l", "-n", "-v", "-i", "eth0", "icmp6 and ip6[40] == 134")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dump.Stdout, dump.Stderr = f, f
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dump.Process.Kill(); _ = dump.Wait() }()
	read := func() string { b, _ := os.ReadFile(out); return string(b) }
	servicetest.Eventually(t, func() bool { return strings.Contains(read(), "listening on eth0") }, read)
	p.Stop()
	servicetest.Eventually(t, func() bool {
		s := read()
		return strings.Contains(s, "router lifetime 0s") && strings.Contains(s, "fd00:100::/48, pref=medium, lifetime=0s")
	}, read)
}

// Other programs agree on what is said.
func TestRdisc6(t *testing.T) {
	t.Parallel()
	srv, cli := pair(t)
	netns.Tools(t, "rdisc6")
	p := startProcess(t, srv, file(gateway))
	p.Serving()
	awaitRoutes(t, cli, servicetest.Contains("default via"))
	got := cli.Run(t, "rdisc6", "-1", "-r", "10", "-w", "3000", "eth0")
	for _, want := range []string{
		"Stateful address conf.    :          Yes", "Stateful other conf.      :          Yes", "Router lifetime           :         1800 (0x00000708) seconds", "Router preference         :         high",
		"Prefix                   : fd00:7::/64", "On-link                 :          Yes", "Autonomous address conf.:           No", "MTU                      :         1400",
		"Route                    : fd00:100::/48", "Recursive DNS server     : fd00:7::2", "Source link-layer address:",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// systemd-networkd asks DHCPv6 because we say so. It runs with folders of its own, and
// with /sys read-only, as in a container, where it does not wait for udev.
func TestNetworkd(t *testing.T) {
	t.Parallel()
	srv, cli := pair(t)
	netns.Tools(t, "unshare")
	daemon := "/usr/lib/systemd/systemd-networkd"
	if _, err := os.Stat(daemon); err != nil {
		netns.SkipOrFail(t, daemon+" is not there: see test/packages.sh")
	}
	p := startProcess(t, srv, file(plain))
	p.Serving()
	script := `set -e
mount -t tmpfs none /run/systemd
mount -t tmpfs none /etc/systemd/network
mount --bind /sys /sys && mount -o remount,bind,ro /sys
mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network /run/systemd/netif
printf '[Match]\nName=eth0\n[Network]\nIPv6AcceptRA=yes\n' >/run/systemd/network/eth0.network
SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console exec ` + daemon
	cmd := cli.Exec("unshare", "-m", "sh", "-c", script)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	read := func() string { b, _ := os.ReadFile(log.Name()); return string(b) }
	servicetest.Eventually(t, func() bool { return strings.Contains(read(), "DHCPv6 client: Sent Solicit") }, read)
	awaitRoutes(t, cli, func(s string) bool {
		return strings.Contains(s, "fd00:7::/64 proto ra") && !strings.Contains(s, "default")
	})
}
