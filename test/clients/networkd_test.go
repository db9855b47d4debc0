package clients_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// networkdScript runs systemd-networkd with files of its own. $1 is the section
// Network of its file and what follows. Without udev, as in a container: /sys is
// read-only there.
const networkdScript = `mount -t tmpfs none /run && mkdir -p /run/systemd/network && mount -o remount,ro /sys
printf '[Match]\nName=eth0\n[Network]\n%s' "$1" >/run/systemd/network/10.network
exec ` + networkdProgram

const networkdProgram = "/usr/lib/systemd/systemd-networkd"

// networkd runs systemd-networkd on a machine until the test ends, and waits
// until `ip address` shows want.
func networkd(t *testing.T, m *rig.Machine, network, want string) {
	t.Helper()
	if _, err := os.Stat(networkdProgram); err != nil {
		netns.SkipOrFail(t, networkdProgram+" is not installed: see test/packages.sh")
	}
	cmd := m.Exec("sh", "-c", networkdScript, "sh", network)
	var said rig.Output
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if strings.Contains(m.Run(t, "ip", "address", "show", "dev", rig.Dev), want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no %s after 30 s:\n%s", want, said.String())
		}
	}
}

func TestNetworkd(t *testing.T) {
	netns.Require(t)
	r := rig.New(t, rig.Options{})
	r.Start(t)
	const ask = "DHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n[DHCPv4]\nUseHostname=no\n"
	t.Run("reservation, whatever its client id", func(t *testing.T) {
		m := r.Blank(t, "worker-0")
		networkd(t, m, ask, "inet 192.168.67.21/24")
		if routes := m.Run(t, "ip", "route"); !strings.Contains(routes, "default via "+rig.RouterIP) {
			t.Errorf("no default route:\n%s", routes)
		}
	})
	t.Run("pool, which asks for a broadcast", func(t *testing.T) {
		m := r.Stranger(t, "52:54:00:aa:00:11")
		networkd(t, m, ask+"RequestBroadcast=yes\n", "inet 192.168.67.1")
		for _, l := range r.Leases(t) {
			if l.MAC.String() == m.Node.MAC && l.Kind == "pool" {
				return
			}
		}
		t.Error("helperd leases does not show it")
	})
}
