package clients_test

import (
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

// dhclient6Script prints all that the server gave.
const dhclient6Script = `#!/bin/sh
case $reason in
BOUND6|REBIND6|RENEW6) ip address replace "$new_ip6_address/128" dev "$interface"; env >"$LEASE_OUT" ;;
esac
exit 0
`

// client6 is a machine that may use its link-local address at once.
func client6(t *testing.T, m *rig.Machine, mode string) *rig.Machine {
	t.Helper()
	m.Run(t, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad")
	m.IP(t, "link", "set", rig.Dev, "down")
	m.IP(t, "link", "set", rig.Dev, "addrgenmode", mode)
	m.IP(t, "link", "set", rig.Dev, "up")
	awaitLinkLocal(t, m.NS, rig.Dev)
	return m
}

func awaitLinkLocal(t *testing.T, ns *netns.NS, dev string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if out := ns.Run(t, "ip", "-6", "address", "show", "dev", dev, "scope", "link"); strings.Contains(out, "fe80:") && !strings.Contains(out, "tentative") {
			return
		}
	}
	t.Fatalf("no link-local address on %s", dev)
}

// dhclient6 gets a lease, with what is in its folder of an earlier one, and gives its options by dhclient's names.
func dhclient6(t *testing.T, m *rig.Machine, dir, config string, args ...string) map[string]string {
	t.Helper()
	script, out := filepath.Join(dir, "script"), filepath.Join(dir, "lease")
	must(t, os.WriteFile(script, []byte(dhclient6Script), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "conf"), []byte(config), 0o644))
	_ = os.Remove(out)
	args = append([]string{
		"-6", "-1", "-d", "-cf", filepath.Join(dir, "conf"), "-lf", filepath.Join(dir, "leases"), "-pf", filepath.Join(dir, "pid"), "-sf", script, "-e", "LEASE_OUT=" + out,
	}, args...)
	cmd := m.Exec("dhclient", append(args, rig.Dev)...)
	var said rig.Output
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if b, err := os.ReadFile(out); err == nil && strings.Contains(string(b), "new_ip6_address") {
			return variables(string(b))
		}
	}
	t.Fatalf("no lease in 30 s:\n%s", said.String())
	return nil
}

const asksFor = "also request dhcp6.fqdn, dhcp6.sntp-servers;\nsend fqdn.fqdn \"mine\";\nsend fqdn.server-update on;\n"

func TestDHCPv6(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "dhclient", "dhcrelay")
	r := rig.New(t, rig.Options{Edit: func(text string) string { return rig.OnlyIPv6(text, "worker-1") }})
	r.Start(t)
	whole := t
	given := map[string]string{"new_ip6_address": "fd00:67::22", "new_dhcp6_name_servers": "fd00:67::2", "new_dhcp6_domain_search": "ocp4.example.com."}

	t.Run("node by its address, with a DUID-LLT", func(t *testing.T) {
		m := client6(t, r.Blank(t, "worker-1"), "eui64")
		want(t, dhclient6(t, m, t.TempDir(), asksFor), given)
		r.AwaitEvent(t, "dhcp.ack of worker-1", 5*time.Second, func(e *timeline.Event) bool {
			return e.Kind == timeline.DHCPAck && e.Node == "worker-1.ocp4.example.com" && e.Addr == netip.MustParseAddr("fd00:67::22")
		})
	})
	t.Run("node by the neighbour table alone", func(t *testing.T) {
		m := client6(t, r.Blank(t, "worker-1"), "random")
		uuid := `send dhcp6.client-id 00:04:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00;` + "\n"
		want(t, dhclient6(t, m, t.TempDir(), uuid), given)
	})
	t.Run("systemd-networkd, which asks for a rapid commit", func(t *testing.T) {
		m := client6(t, r.Blank(t, "worker-1"), "eui64")
		networkd(t, m, "DHCP=ipv6\nLinkLocalAddressing=ipv6\n[DHCPv6]\nWithoutRA=solicit\n", "fd00:67::22/128")
	})
	t.Run("pool, kept over a restart", func(t *testing.T) {
		m := client6(t, r.Stranger(t, "52:54:00:aa:00:01"), "eui64")
		dir := t.TempDir()
		first := dhclient6(t, m, dir, "")["new_ip6_address"]
		if !strings.HasPrefix(first, "fd00:67::1") {
			t.Errorf("%s is not of the pool", first)
		}
		r.Stop(t)
		r.Start(whole)
		kinds := map[string]string{}
		for _, l := range r.Leases(t) {
			kinds[l.Address.String()] = l.Kind + " " + l.MAC.String()
		}
		want(t, kinds, map[string]string{first: "pool 52:54:00:aa:00:01", "fd00:67::22": "reservation 52:54:00:82:90:00"})
		b := client6(t, r.Stranger(t, "52:54:00:aa:00:02"), "eui64")
		if second := dhclient6(t, b, t.TempDir(), "")["new_ip6_address"]; second == first {
			t.Errorf("%s was given twice", first)
		}
	})
	t.Run("firmware of a stranger", func(t *testing.T) {
		m := client6(t, r.Stranger(t, "52:54:00:aa:00:03"), "eui64")
		dir := t.TempDir()
		conf := filepath.Join(dir, "conf")
		must(t, os.WriteFile(conf, []byte("option dhcp6.arch code 61 = unsigned integer 16;\nsend dhcp6.arch 7;\n"), 0o644))
		cmd := m.Exec("timeout", "5", "dhclient", "-6", "-1", "-d", "-cf", conf, "-lf", filepath.Join(dir, "leases"), "-pf", filepath.Join(dir, "pid"), "-sf", "/bin/true", rig.Dev)
		_, _ = cmd.CombinedOutput()
		checkRefused6(t, r, m.Node.MAC)
	})
	t.Run("a machine behind a relay", func(t *testing.T) { testRelay6(t, r) })
	t.Run("an interface that is taken away and comes back", func(t *testing.T) {
		r.Helper.IP(t, "link", "delete", "eth0")
		r.Router.IP(t, "link", "add", "name", "back", "type", "veth", "peer", "name", "eth0", "netns", r.Helper.Name)
		r.Router.IP(t, "link", "set", "back", "master", rig.Bridge, "up")
		r.Helper.Up(t, "eth0", "192.168.67.2/24", "fd00:67::2/64")
		m := client6(t, r.Blank(t, "worker-1"), "eui64")
		want(t, dhclient6(t, m, t.TempDir(), ""), given)
	})
}

func checkRefused6(t *testing.T, r *rig.Rig, mac string) {
	t.Helper()
	r.AwaitEvent(t, "dhcp.refused of "+mac, 5*time.Second, func(e *timeline.Event) bool {
		return e.Kind == timeline.DHCPRefused && e.MAC.String() == mac && strings.Contains(e.Detail, "wants to boot from the network")
	})
	for _, e := range r.Events(t) {
		if e.MAC.String() == mac && (e.Kind == timeline.DHCPOffer || e.Kind == timeline.DHCPAck) {
			t.Errorf("it was served: %v", e)
		}
	}
}

// testRelay6 asks through ISC's relay on a LAN of its own.
func testRelay6(t *testing.T, r *rig.Rig) {
	relay, far := netns.New(t), netns.New(t)
	port, up := netns.Link(t, r.Router, relay, "", "")
	r.Router.IP(t, "link", "set", port, "master", rig.Bridge, "up")
	down, dev := netns.Link(t, relay, far, "", "")
	for _, name := range []string{up, down} {
		relay.Run(t, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/"+name+"/accept_dad")
		relay.IP(t, "link", "set", name, "down")
		relay.IP(t, "link", "set", name, "up")
		awaitLinkLocal(t, relay, name)
	}
	relay.Up(t, up, "fd00:67::9/64")
	relay.Up(t, down, "fd00:30::1/64")
	far.IP(t, "link", "set", dev, "down")
	far.IP(t, "link", "set", dev, "address", "52:54:00:33:00:01")
	m := client6(t, &rig.Machine{NS: far}, "eui64")
	cmd := relay.Exec("dhcrelay", "-6", "-d", "--no-pid", "-I", "-l", down, "-u", "fd00:67::2%"+up)
	var said rig.Output
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	}()
	lease := dhclient6(t, m, t.TempDir(), "")
	want(t, lease, map[string]string{"new_ip6_address": "fd00:30::10"})
}
