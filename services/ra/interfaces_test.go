package ra

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/ipv6"

	"helperd/internal/netns"
	"helperd/services/servicetest"
)

// Each of two links has its own networks.
func TestTwoLinks(t *testing.T) {
	t.Parallel()
	srv, one := pair(t)
	two := netns.New(t)
	netns.Link(t, srv, two, "fd00:8::2/64", "")
	p := startProcess(t, srv, file(plain, `{cidr: "fd00:8::/64", gateway: "fd00:8::2", ra: true, dhcp: {mode: server}}`))
	awaitRoutes(t, one, func(s string) bool { return strings.Contains(s, "fd00:7::/64") && !strings.Contains(s, "fd00:8::") })
	awaitRoutes(t, two, func(s string) bool {
		return strings.Contains(s, "fd00:8::/64") && strings.Contains(s, "default via") && !strings.Contains(s, "fd00:7::")
	})
	// One of them is left alone when the other one changes.
	e := listen(t, one)
	p.Must("plan " + file(plain))
	awaitRoutes(t, two, func(s string) bool { return !strings.Contains(s, "default") })
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.all { // the initial ones go on
		if saying("0s 0s")(m) || saying("dns fd00:7::2 0s")(m) {
			t.Errorf("link one heard %q", options(m))
		}
	}
}

// Interfaces are followed: one that comes, one made anew, one without its link-local address.
func TestInterfacesComeAndGo(t *testing.T) {
	t.Parallel()
	srv := netns.New(t)
	p := startProcess(t, srv, file(strings.Replace(plain, "ra:", "interface: eth0, ra:", 1)))
	p.Until("status", servicetest.Contains("interface eth0 of network fd00:7::/64 is not there"))
	for range 2 {
		cli := netns.New(t)
		srv.IP(t, "link", "add", "name", "eth0", "type", "veth", "peer", "name", "eth0", "netns", cli.Name)
		p.Until("status", servicetest.Contains("interface eth0 of network fd00:7::/64 is down"))
		srv.Up(t, "eth0", "fd00:7::2/64")
		p.Until("status", servicetest.Contains("interface eth0 has no link; plug its cable in"))
		cli.Up(t, "eth0", "")
		awaitRoutes(t, cli, servicetest.Contains("fd00:7::/64"))
		p.Until("status", servicetest.Contains(`"state":"up"`))

		srv.IP(t, "link", "set", "eth0", "down")
		p.Until("status", servicetest.Contains("is down"))
		cli.IP(t, "route", "flush", "proto", "kernel", "fd00:7::/64")
		cli.IP(t, "-6", "route", "flush", "fd00:7::/64")
		srv.Up(t, "eth0", "fd00:7::2/64")
		awaitRoutes(t, cli, servicetest.Contains("fd00:7::/64"))

		srv.Run(t, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
		p.Until("status", servicetest.Contains("is IPv6 switched off there"))
		srv.Run(t, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0")
		p.Until("status", servicetest.Contains(`"state":"up"`))

		// Another MAC makes another link-local address, or at least another option.
		e := listen(t, cli)
		srv.IP(t, "link", "set", "eth0", "address", "02:00:00:00:77:01")
		e.await(t, saying("mac 02:00:00:00:77:01"))
		srv.IP(t, "link", "del", "eth0")
		p.Until("status", servicetest.Contains("is not there"))
	}
}

// An address that is being checked by DAD, or that another machine has, sends nothing.
func TestDuplicateAddressDetection(t *testing.T) {
	t.Parallel()
	srv, cli := netns.New(t), netns.New(t)
	devS, devC := netns.Link(t, srv, cli, "", "")
	srv.IP(t, "link", "set", devS, "down")
	srv.Run(t, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=1", "net.ipv6.conf.eth0.accept_dad=1", "net.ipv6.conf.eth0.dad_transmits=3", "net.ipv6.conf.eth0.addr_gen_mode=1")
	cli.IP(t, "address", "add", "fe80::77/64", "dev", devC)
	e := listen(t, cli)
	srv.Up(t, devS)
	srv.IP(t, "address", "add", "fe80::77/64", "dev", devS)
	p := startProcess(t, srv, file(strings.Replace(plain, "ra:", "interface: eth0, ra:", 1)))
	p.Until("status", servicetest.Contains("the link-local address of interface eth0 is not ready"))
	servicetest.Eventually(t, func() bool {
		return strings.Contains(srv.Run(t, "ip", "-6", "address", "show", "dev", "eth0"), "dadfailed")
	}, func() string { return "the kernel does not see the duplicate" })
	if got := p.Do("status"); !strings.Contains(got, "is not ready; if that lasts, another machine has the same one") {
		t.Errorf("status %s", got)
	}
	e.mu.Lock()
	if len(e.all) > 0 {
		t.Errorf("it sent %d advertisements", len(e.all))
	}
	e.mu.Unlock()
	srv.IP(t, "address", "add", "fe80::78/64", "dev", devS)
	e.await(t, anything)
	p.Until("status", servicetest.Contains(`"state":"up"`))
}

// radvd and dnsmasq are other routers.
func TestForeignRouters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		start func(t *testing.T, ns *netns.NS, dir string)
		want  []string
	}{
		{"radvd", func(t *testing.T, ns *netns.NS, dir string) {
			netns.Tools(t, "radvd")
			conf := "interface eth0 { AdvSendAdvert on; AdvDefaultLifetime 900; prefix fd00:66::/64 { AdvOnLink on; AdvAutonomous on; }; };\n"
			if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o644); err != nil {
				t.Fatal(err)
			}
			ns.Run(t, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
			background(t, ns, "radvd", "-n", "-C", filepath.Join(dir, "conf"), "-p", filepath.Join(dir, "pid"), "-m", "stderr")
		}, []string{"flags none, a default route for 15m0s", "fd00:66::/64 on the link for addresses by SLAAC", "M is off", "prefix fd00:66::/64 is no network of the file"}},
		{"dnsmasq", func(t *testing.T, ns *netns.NS, dir string) {
			netns.Tools(t, "dnsmasq")
			ns.IP(t, "address", "add", "fd00:7::1/64", "dev", "eth0")
			background(t, ns, "dnsmasq", "-k", "-C", "/dev/null", "-p0", "--interface=eth0", "--enable-ra", "--dhcp-range=fd00:7::,ra-only", "--ra-param=eth0,10,0", "--pid-file="+filepath.Join(dir, "pid"))
		}, []string{"flags none, no default route", "machines make addresses of their own in fd00:7::/64"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv, other := pair(t)
			p := startProcess(t, srv, file(plain))
			p.Until("status", servicetest.Contains(`"state":"up"`))
			c.start(t, other, t.TempDir())
			got := p.Until("status", servicetest.Contains("another router, fe80::"))
			for _, want := range append(c.want, `"state":"degraded"`, "(MAC "+mac(t, other)+")") {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in %s", want, got)
				}
			}
			if got := p.Do("events"); strings.Count(got, "ra.foreign") != 1 {
				t.Errorf("events %s", got)
			}
		})
	}
}

// background runs a daemon as long as the test.
func background(t *testing.T, ns *netns.NS, name string, args ...string) {
	t.Helper()
	cmd := ns.Exec(name, args...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func mac(t *testing.T, ns *netns.NS) string {
	t.Helper()
	return strings.TrimSpace(ns.Run(t, "cat", "/sys/class/net/eth0/address"))
}

// CAP_NET_RAW is all that is needed, and its absence is told by Prepare.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	srv, cli := pair(t)
	netns.Tools(t, "setpriv")
	nobody := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw"}
	if dir, err := filepath.EvalSymlinks(os.Args[0]); err != nil || os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755) != nil { // go test's own folder is for root alone
		t.Fatal(err)
	}
	p := startProcess(t, srv, file(gateway), nobody...)
	awaitRoutes(t, cli, servicetest.Contains("default via"))
	p.Serving()
	p.Stop()

	for k := range nobody {
		nobody[k] = strings.ReplaceAll(nobody[k], ",+net_raw", "")
	}
	p = servicetest.StartProcess(t, srv, "", nobody...)
	if got := p.Do("plan " + file(plain)); !strings.Contains(got, "they need CAP_NET_RAW") {
		t.Errorf("without it: %s", got)
	}
	if got := p.Do("plan " + file(quiet)); got != "ok" {
		t.Errorf("a file without advertisements: %s", got)
	}
}

// Neither reloads nor nonsense from the link leave anything behind, and a panic is survived.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	srv, cli := pair(t)
	e := listen(t, cli)
	p := startProcess(t, srv, file(plain))
	p.Serving()
	held := func() (fds, goroutines int) {
		if _, err := fmt.Sscan(p.Do("held"), &fds, &goroutines); err != nil {
			t.Fatal(err)
		}
		return fds, goroutines
	}
	fds, goroutines := held()
	for i := range 200 {
		p.Must("plan " + []string{file(quiet), file(gateway), file(plain)}[i%3])
	}
	p.Must("plan " + file(plain))
	nonsense(t, cli, 5000)
	p.Do("fuse")
	e.solicit(t)
	e.forget()
	e.solicit(t)
	e.await(t, anything)
	p.Serving()
	p.Until("held", func(string) bool { f, g := held(); return f <= fds && g <= goroutines })
	if got := p.Do("status"); strings.Contains(got, `"invalid":0`) {
		t.Errorf("status %s", got)
	}
}

// nonsense sends so many messages, of which few mean anything.
func nonsense(t *testing.T, ns *netns.NS, n int) {
	t.Helper()
	ns.Do(t, func() {
		c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		pc := ipv6.NewPacketConn(c)
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = pc.SetMulticastInterface(ifi), pc.SetMulticastHopLimit(255)
		to := &net.IPAddr{IP: netip.MustParseAddr("ff02::2").AsSlice(), Zone: strconv.Itoa(ifi.Index)}
		seed := uint32(1)
		for range n {
			seed = seed*1664525 + 1013904223
			b := []byte{133 + byte(seed>>31), 0, 0, 0, 0, 0, 0, 0}
			for range seed >> 16 % 60 {
				seed = seed*1664525 + 1013904223
				b = append(b, byte(seed>>24))
			}
			if _, err := pc.WriteTo(b, nil, to); err != nil {
				t.Fatal(err)
			}
		}
	})
}
