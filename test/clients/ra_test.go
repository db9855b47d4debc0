package clients_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
	"helperd/timeline"
)

// TestAdvertisedDHCPv6 is IPv6 with nobody else on the link: advertisements, addresses, time and names are the helper's.
func TestAdvertisedDHCPv6(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "dhclient", "rdisc6", "ntpdig")
	r := rig.New(t, rig.Options{Systemd: true, Edit: func(text string) string { return rig.OnlyIPv6(text, "worker-1") }})
	// The helper is the gateway of its IPv6 network. The rig's router, which the file named before, advertises nothing.
	r.Rewrite(t, func(text string) string {
		return strings.Replace(text, "gateway: fd00:67::1\n", "gateway: fd00:67::2\n    ra: true\n", 1)
	})
	r.Helper.Run(t, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	awaitLinkLocal(t, r.Helper, "eth0")
	r.Start(t)
	m := client6(t, r.Blank(t, "worker-1"), "eui64")
	await := func(t *testing.T, want bool, what string) {
		t.Helper()
		eventually(t, what, func() bool {
			return strings.Contains(m.Run(t, "ip", "-6", "route", "show", "default"), "via fe80::") == want
		})
	}

	t.Run("rdisc6", func(t *testing.T) {
		got := m.Run(t, "rdisc6", "-1", "-r", "20", "-w", "2000", rig.Dev)
		for _, want := range []string{
			"Stateful address conf.    :          Yes", "Router lifetime           :         1800 (0x00000708) seconds", "Prefix                   : fd00:67::/64",
			"Autonomous address conf.:           No", "Recursive DNS server     : fd00:67::2", "DNS search list          : ocp4.example.com",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
	})
	t.Run("dhclient and the kernel", func(t *testing.T) {
		await(t, true, "a default route")
		lease := dhclient6(t, m, t.TempDir(), "also request dhcp6.sntp-servers;\n")
		want(t, lease, map[string]string{"new_ip6_address": "fd00:67::22", "new_dhcp6_name_servers": "fd00:67::2", "new_dhcp6_sntp_servers": "fd00:67::2"})
		if got := m.Run(t, "ip", "-6", "address", "show", "dev", rig.Dev, "scope", "global"); strings.Count(got, "inet6") != 1 {
			t.Errorf("it made an address of its own:\n%s", got)
		}
		out, err := m.Exec("timeout", "20", "ntpdig", "-t", "5", "fd00:67::2").CombinedOutput()
		if err != nil || !ntpdigLine.Match(out) {
			t.Errorf("ntpdig: %v\n%s", err, out)
		}
	})
	t.Run("systemd-networkd, which does what the advertisement says", func(t *testing.T) {
		m := client6(t, r.Blank(t, "worker-1"), "eui64")
		networkd(t, m, "IPv6AcceptRA=yes\n", "fd00:67::22/128")
		got := m.Run(t, "ip", "-6", "route", "show", "dev", rig.Dev)
		for _, want := range []string{"default via fe80::", "fd00:67::/64 proto ra"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
	})
	t.Run("an upgrade in place is not noticed", func(t *testing.T) { testUpgrade6(t, r, m) })
	t.Run("switched off and on again in the file", func(t *testing.T) {
		r.Apply(t, func(text string) string { return strings.Replace(text, "    ra: true\n", "", 1) })
		await(t, false, "the end of the default route")
		r.Apply(t, func(text string) string {
			return strings.Replace(text, "gateway: fd00:67::2\n", "gateway: fd00:67::2\n    ra: true\n", 1)
		})
		await(t, true, "a default route")
	})
	t.Run("another router", func(t *testing.T) {
		r.Advertise(t)
		of := func(e *timeline.Event) bool { return e.Kind == timeline.RAForeign }
		e := r.AwaitEvent(t, "ra.foreign", 20*time.Second, of)
		if router := linkLocal(t, r.Router, rig.Bridge); e.Addr.String() != router || e.MAC.IsZero() {
			t.Errorf("%v, and the router is %s", e, router)
		}
		time.Sleep(3 * time.Second) // it says so every second
		n := 0
		for _, e := range r.Events(t) {
			if of(&e) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("told %d times", n)
		}
	})
	t.Run("the end", func(t *testing.T) {
		before := m.Run(t, "ip", "-6", "route", "show", "default")
		r.Stop(t)
		helper := "via " + linkLocal(t, r.Helper, "eth0")
		if !strings.Contains(before, helper) {
			t.Fatalf("no default route %s before:\n%s", helper, before)
		}
		eventually(t, "the end of the default route", func() bool {
			return !strings.Contains(m.Run(t, "ip", "-6", "route", "show", "default"), helper)
		})
	})
}

func linkLocal(t *testing.T, ns *netns.NS, dev string) string {
	t.Helper()
	for _, word := range strings.Fields(ns.Run(t, "ip", "-6", "-brief", "address", "show", "dev", dev, "scope", "link")) {
		if p, err := netip.ParsePrefix(word); err == nil {
			return p.Addr().String()
		}
	}
	t.Fatalf("no link-local address on %s", dev)
	return ""
}

// testUpgrade6 asks for the time and for parameters all the while. An upgrade may delay an answer, and must
// not take the default route away.
func testUpgrade6(t *testing.T, r *rig.Rig, m *rig.Machine) {
	routes := filepath.Join(t.TempDir(), "routes")
	f, err := os.Create(routes)
	must(t, err)
	defer f.Close()
	monitor := m.Exec("ip", "-6", "monitor", "route")
	monitor.Stdout = f
	monitor.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, monitor.Start())
	defer func() {
		_ = monitor.Process.Kill()
		_ = monitor.Wait()
	}()
	ntp := newRepeater(t, m, "[fd00:67::2]:123", ntpRequest)
	index := strings.TrimSpace(m.Run(t, "cat", "/sys/class/net/"+rig.Dev+"/ifindex")) // its name means another one where the test runs
	parameters := newRepeater(t, m, "[ff02::1:2%"+index+"]:547", informationRequest)
	ntp.answered(t)
	parameters.answered(t)
	for range 2 {
		r.Order(t, "upgrade")
		ntp.answered(t)
		parameters.answered(t)
	}
	if b, err := os.ReadFile(routes); err != nil || strings.Contains(string(b), "Deleted default") {
		t.Errorf("the default route went away: %v\n%s", err, b)
	}
}

func ntpRequest(id uint32) []byte {
	b := make([]byte, 48)
	b[0] = 4<<3 | 3
	binary.BigEndian.PutUint32(b[44:], id)
	return b
}

func informationRequest(id uint32) []byte {
	b := []byte{11, byte(id >> 16), byte(id >> 8), byte(id), 0, 1, 0, 10, 0, 3, 0, 1, 0x52, 0x54, 0, 0x82, 0x90, 0}
	return append(b, 0, 6, 0, 2, 0, 23) // names of servers
}

// repeater sends datagrams and looks whether they are answered.
type repeater struct {
	conn    *net.UDPConn
	to      *net.UDPAddr
	request func(id uint32) []byte
	id      uint32
}

func newRepeater(t *testing.T, m *rig.Machine, to string, request func(uint32) []byte) *repeater {
	t.Helper()
	a := &repeater{request: request}
	m.Do(t, func() {
		var err error
		a.to, err = net.ResolveUDPAddr("udp6", to)
		must(t, err)
		local := &net.UDPAddr{}
		if a.to.Port == 547 {
			local.Port = 546
		}
		a.conn, err = net.ListenUDP("udp6", local)
		must(t, err)
	})
	t.Cleanup(func() { _ = a.conn.Close() })
	return a
}

// answered asks until there is an answer.
func (a *repeater) answered(t *testing.T) {
	t.Helper()
	b := make([]byte, 1500)
	eventually(t, "an answer of "+a.to.String(), func() bool {
		a.id++
		_, err := a.conn.WriteTo(a.request(a.id), a.to)
		must(t, err)
		_ = a.conn.SetReadDeadline(time.Now().Add(time.Second))
		n, err := a.conn.Read(b)
		return err == nil && n >= 4
	})
}
