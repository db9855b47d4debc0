package dhcp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helperd/internal/netns"
)

// A client that knows BOOTP only: it prints what it was told as shell variables.
func TestBOOTPClient(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "bootpc")
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	setMAC(t, cli, nodeMAC)
	cli.IP(t, "route", "add", "255.255.255.255", "dev", "eth0")
	out, err := cli.Exec("bootpc", "--dev", "eth0", "--serverbcast", "--returniffail", "--timeoutwait", "15").CombinedOutput()
	for _, want := range []string{"IPADDR='192.168.67.10'", "HOSTNAME='bootstrap.ocp4.example.com'", "NETMASK='255.255.255.0'", "GATEWAYS='192.168.67.1'"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%v, no %s:\n%s", err, want, out)
		}
	}
	if got := p.do("status"); !strings.Contains(got, `"bootp":1,`) || !strings.Contains(got, `"transactions":0,`) {
		t.Errorf("status %s", got)
	}
	p.stop()
}

// dhcpcd asks for rapid commit: two messages in place of four, and the lease is on disk.
func TestRapidCommitClient(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "dhcpcd", "unshare")
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	conf := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(conf, []byte("option rapid_commit\nnoipv4ll\nnoarp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// It remembers leases in a folder of its own, which must not be this machine's.
	const alone = `mkdir -p /var/lib/dhcpcd && mount -t tmpfs tmpfs /var/lib/dhcpcd && mount -t tmpfs tmpfs /run && exec dhcpcd "$@"`
	for _, c := range []struct{ mac, want, counted string }{
		{nodeMAC.String(), "leased 192.168.67.10 for 604800 seconds", `"transactions":0,`},
		{"02:00:00:00:00:07", "leased 192.168.67.100 for 3600 seconds", `"transactions":1,`},
	} {
		cli.IP(t, "address", "flush", "dev", "eth0")
		setMAC(t, cli, stringer(c.mac))
		cmd := cli.Exec("unshare", "-m", "sh", "-ec", alone, "sh", "-4", "-1", "-B", "-d", "-t", "15", "-f", conf, "-c", "/bin/true", "eth0")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%v, no %q:\n%s", err, c.want, out)
		}
		if got := p.do("status"); !strings.Contains(got, `"offer":0,`) || !strings.Contains(got, `"request":0,`) || !strings.Contains(got, c.counted) {
			t.Errorf("more than two messages, or not %s: %s", c.counted, got)
		}
	}
	if got := p.do("leases"); !strings.Contains(got, "192.168.67.100") {
		t.Errorf("leases: %s", got)
	}
	p.stop()
}
