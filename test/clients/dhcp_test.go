package clients_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
	"helperd/timeline"
)

// udhcpcScript takes the address and prints all that the server gave.
const udhcpcScript = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip address flush dev "$interface"
ip address add "$ip/$mask" dev "$interface"
env
`

// dhclientScript prints all that the server gave.
const dhclientScript = `#!/bin/sh
case $reason in
BOUND|REBOOT) ip address add "$new_ip_address/24" dev "$interface"; env >"$LEASE_OUT" ;;
esac
exit 0
`

// udhcpc gets a lease and gives its options by udhcpc's names.
func udhcpc(t *testing.T, m *rig.Machine, args ...string) map[string]string {
	t.Helper()
	lease, out := tryUDHCPC(t, m, args...)
	if lease == nil {
		t.Fatalf("udhcpc got no lease:\n%s", out)
	}
	return lease
}

// tryUDHCPC is udhcpc that may get nothing: nil, and what it printed.
func tryUDHCPC(t *testing.T, m *rig.Machine, args ...string) (map[string]string, string) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script")
	must(t, os.WriteFile(script, []byte(udhcpcScript), 0o755))
	args = append([]string{
		"udhcpc", "-i", rig.Dev, "-f", "-q", "-n", "-t", "3", "-T", "2", "-s", script,
		"-O", "hostname", "-O", "domain", "-O", "search", "-O", "ntpsrv", "-O", "mtu", "-O", "staticroutes", "-O", "bootfile", "-O", "tftp",
	}, args...)
	out, err := m.Exec("busybox", args...).CombinedOutput()
	if err != nil {
		return nil, string(out)
	}
	return variables(string(out)), string(out)
}

func variables(text string) map[string]string {
	v := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			v[name] = strings.Trim(value, "'")
		}
	}
	return v
}

func want(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
}

func TestUDHCPC(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "busybox")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	whole := t

	t.Run("reservation", func(t *testing.T) {
		m := r.Blank(t, "worker-0")
		lease := udhcpc(t, m)
		want(t, lease, map[string]string{
			"ip": "192.168.67.21", "mask": "24", "router": rig.RouterIP, "dns": rig.HelperIP, "serverid": rig.HelperIP,
			"hostname": "worker-0.ocp4.example.com", "domain": "ocp4.example.com", "search": "ocp4.example.com", "lease": "14400",
		})
		again := udhcpc(t, m, "-x", "0x3d:ff00112233") // another client id, as the next stage of a boot has
		want(t, again, map[string]string{"ip": "192.168.67.21"})
	})

	t.Run("pool", func(t *testing.T) {
		a, b := r.Stranger(t, "52:54:00:aa:00:01"), r.Stranger(t, "52:54:00:aa:00:02")
		leaseA, leaseB := udhcpc(t, a), udhcpc(t, b)
		for _, lease := range []map[string]string{leaseA, leaseB} {
			inPool(t, lease["ip"])
			want(t, lease, map[string]string{"router": rig.RouterIP, "dns": rig.HelperIP, "lease": "14400", "boot_file": "", "bootfile": ""})
		}
		if leaseA["ip"] == leaseB["ip"] {
			t.Errorf("two machines have %s", leaseA["ip"])
		}
		want(t, udhcpc(t, a), map[string]string{"ip": leaseA["ip"]})

		r.Stop(t)
		r.Start(whole) // it serves the subtests after this one, too
		c := r.Stranger(t, "52:54:00:aa:00:03")
		leaseC := udhcpc(t, c)
		if leaseC["ip"] == leaseA["ip"] || leaseC["ip"] == leaseB["ip"] {
			t.Errorf("after a restart %s was given a second time", leaseC["ip"])
		}
		want(t, udhcpc(t, b), map[string]string{"ip": leaseB["ip"]})
		for _, l := range r.Leases(t) {
			if l.MAC.String() == b.Node.MAC && l.Kind != "pool" {
				t.Errorf("helperd leases says %s of a pool lease", l.Kind)
			}
		}
	})

	t.Run("boot files", func(t *testing.T) {
		m := r.Blank(t, "worker-1")
		script := r.BootScript(m.Node)
		pxe := func(arch string) []string {
			return []string{"-x", "0x5d:" + arch, "-V", "PXEClient:Arch:0" + arch + ":UNDI:002001"}
		}
		for _, c := range []struct {
			name, want string
			args       []string
		}{
			{"BIOS", "undionly.kpxe", pxe("0000")},
			{"UEFI x64", "snponly.efi", pxe("0007")},
			{"UEFI x64 by its other number", "snponly.efi", pxe("0009")},
			{"iPXE on BIOS", script, append(pxe("0000"), "-x", "0x4d:69505845")},
			{"iPXE on UEFI", script, append(pxe("0007"), "-x", "0x4d:69505845")},
			{"UEFI HTTP boot", rig.URL("/boot/snponly.efi"), []string{"-x", "0x5d:0010", "-V", "HTTPClient:Arch:00016:UNDI:003000"}},
			{"an operating system", "", nil},
		} {
			t.Run(c.name, func(t *testing.T) {
				lease := udhcpc(t, m, c.args...)
				got := lease["bootfile"]
				if got == "" {
					got = lease["boot_file"] // the field of the BOOTP header
				}
				if c.args == nil {
					return // what a running system is told to boot is nobody's concern
				}
				if got != c.want {
					t.Errorf("boot file is %q, want %q", got, c.want)
				}
				want(t, lease, map[string]string{"ip": "192.168.67.22", "siaddr": rig.HelperIP})
			})
		}
	})
}

func TestUnknownMachinesAreIgnored(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "busybox")
	r := rig.New(t, rig.Options{Edit: func(text string) string {
		return strings.Replace(text, "      lease: 4h\n", "      lease: 4h\n      unknown: ignore\n", 1)
	}})
	r.Start(t)
	m := r.Stranger(t, "52:54:00:aa:00:01")
	if lease, _ := tryUDHCPC(t, m); lease != nil {
		t.Errorf("a machine that is in no list got %s", lease["ip"])
	}
	r.AwaitEvent(t, "dhcp.refused", 5*time.Second, func(e *timeline.Event) bool {
		return e.Kind == timeline.DHCPRefused && e.MAC.String() == m.Node.MAC
	})
	want(t, udhcpc(t, r.Blank(t, "master-0")), map[string]string{"ip": "192.168.67.11"})
}

func TestDHClient(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "dhclient")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	t.Run("reservation", func(t *testing.T) {
		want(t, dhclient(t, r.Blank(t, "worker-0")), map[string]string{
			"new_ip_address": "192.168.67.21", "new_subnet_mask": "255.255.255.0", "new_routers": rig.RouterIP,
			"new_domain_name_servers": rig.HelperIP, "new_domain_name": "ocp4.example.com",
			"new_host_name": "worker-0.ocp4.example.com", "new_dhcp_lease_time": "14400",
		})
	})
	t.Run("pool", func(t *testing.T) {
		lease := dhclient(t, r.Stranger(t, "52:54:00:aa:00:09"))
		inPool(t, lease["new_ip_address"])
		want(t, lease, map[string]string{"new_routers": rig.RouterIP, "new_host_name": ""})
	})
}

// dhclient gets a lease and gives its options by dhclient's names.
func dhclient(t *testing.T, m *rig.Machine) map[string]string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(in("script"), []byte(dhclientScript), 0o755))
	must(t, os.WriteFile(in("conf"), []byte("timeout 15;\nrequest subnet-mask, routers, domain-name, domain-name-servers, host-name, ntp-servers, domain-search, interface-mtu;\n"), 0o644))
	cmd := m.Exec("dhclient", "-1", "-v", "-cf", in("conf"), "-sf", in("script"), "-lf", in("leases"), "-pf", in("pid"), "-e", "LEASE_OUT="+in("out"), rig.Dev)
	out, err := cmd.CombinedOutput()
	// It stays in the background to renew.
	if b, err := os.ReadFile(in("pid")); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM) })
		}
	}
	if err != nil {
		t.Fatalf("dhclient: %v\n%s", err, out)
	}
	b, err := os.ReadFile(in("out"))
	must(t, err)
	return variables(string(b))
}

func inPool(t *testing.T, ip string) {
	t.Helper()
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Less(netip.MustParseAddr("192.168.67.100")) || netip.MustParseAddr("192.168.67.200").Less(a) {
		t.Errorf("address %q is not in the pool", ip)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
