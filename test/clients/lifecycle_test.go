package clients_test

import (
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

// lease gives the pool address that helperd says a machine has; empty: none.
func leaseOf(t *testing.T, r *rig.Rig, mac string) string {
	t.Helper()
	for _, l := range r.Leases(t) {
		if l.MAC.String() == mac && l.Kind == "pool" {
			return l.Address.String()
		}
	}
	return ""
}

// lives waits until helperd says that a machine has that address; empty: none.
func lives(t *testing.T, r *rig.Rig, mac, address string) {
	t.Helper()
	for end := time.Now().Add(patience); leaseOf(t, r, mac) != address; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("helperd says that %s has %q, want %q", mac, leaseOf(t, r, mac), address)
		}
	}
}

// TestLifeOfALease: real clients come back with their address, renew it and give it back.
func TestLifeOfALease(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "dhclient", "busybox")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	t.Run("dhclient comes back, and gives back", func(t *testing.T) {
		m := r.Stranger(t, "52:54:00:aa:00:21")
		dir := t.TempDir()
		script := filepath.Join(dir, "script")
		must(t, os.WriteFile(script, []byte("#!/bin/sh\necho reason=$reason address=$new_ip_address >>"+dir+"/out\n"), 0o755))
		run := func(args ...string) string {
			must(t, os.WriteFile(filepath.Join(dir, "out"), nil, 0o644))
			m.Run(t, "timeout", append([]string{"30", "dhclient", "-cf", "/dev/null", "-sf", script, "-lf", filepath.Join(dir, "leases"), "-pf", filepath.Join(dir, "pid")}, append(args, rig.Dev)...)...)
			b, err := os.ReadFile(filepath.Join(dir, "out"))
			must(t, err)
			return string(b)
		}
		run("-1")
		address := leaseOf(t, r, m.Node.MAC)
		inPool(t, address)
		run("-x") // without a word to the server, as when a machine is switched off
		if out := run("-1"); !strings.Contains(out, "reason=REBOOT address="+address+"\n") {
			t.Errorf("after a restart with %s: %s", address, out)
		}
		m.Up(t, rig.Dev, address+"/24") // what the script would do: a RELEASE is sent from it
		run("-r")
		lives(t, r, m.Node.MAC, "")
	})
	t.Run("udhcpc renews, and gives back", func(t *testing.T) {
		m := r.Stranger(t, "52:54:00:aa:00:22")
		script := filepath.Join(t.TempDir(), "script")
		must(t, os.WriteFile(script, []byte("#!/bin/sh\necho $1 $ip\n[ $1 = bound ] && ip address add $ip/$mask dev $interface\nexit 0\n"), 0o755))
		cmd := m.Exec("busybox", "udhcpc", "-i", rig.Dev, "-f", "-R", "-s", script)
		var said rig.Output
		cmd.Stdout, cmd.Stderr = &said, &said
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		must(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		says := func(word string) {
			t.Helper()
			for end := time.Now().Add(patience); !strings.Contains(said.String(), word); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("udhcpc does not say %q:\n%s", word, said.String())
				}
			}
		}
		says("bound 192.168.67.")
		address := leaseOf(t, r, m.Node.MAC)
		must(t, cmd.Process.Signal(syscall.SIGUSR1))
		says("renew " + address)
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		lives(t, r, m.Node.MAC, "")
	})
	t.Run("udhcpc that finds its address in use", func(t *testing.T) {
		m, thief := r.Stranger(t, "52:54:00:aa:00:23"), r.Stranger(t, "52:54:00:aa:00:24")
		address := udhcpc(t, m)["ip"]
		m.IP(t, "address", "flush", "dev", rig.Dev)
		thief.Up(t, rig.Dev, address+"/24")
		if got := udhcpc(t, m, "-a", "-t", "5", "-A", "1")["ip"]; got == address {
			t.Errorf("it got %s again, which another machine uses", got)
		}
		r.AwaitEvent(t, "dhcp.decline", patience, func(e *timeline.Event) bool {
			return e.Kind == timeline.DHCPDecline && e.Addr.String() == address
		})
	})
}
