package dhcp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/internal/netns"
)

// lan is a server and a machine on one link.
func lan(t *testing.T) (server, client *netns.NS) {
	server, client = netns.New(t), netns.New(t)
	netns.Link(t, server, client, "192.168.67.2/24", "")
	return server, client
}

func setMAC(t *testing.T, ns *netns.NS, mac fmt.Stringer) {
	t.Helper()
	ns.IP(t, "link", "set", "eth0", "down")
	ns.IP(t, "link", "set", "eth0", "address", mac.String())
	ns.IP(t, "link", "set", "eth0", "up")
}

// script is what clients call: it sets the address and writes its environment to a file.
func script(t *testing.T) (path, out string) {
	t.Helper()
	dir := t.TempDir()
	path, out = filepath.Join(dir, "script"), filepath.Join(dir, "out")
	text := `#!/bin/sh
case "${1:-$reason}" in
bound|BOUND|REBOOT) ip address replace "${ip:-$new_ip_address}/24" dev eth0;;
esac
{ echo "event=${1:-$reason}"; env; echo; } >>` + out + "\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, out
}

func TestRealClients(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "udhcpc", "dhclient")
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	node := []string{"192.168.67.10", "bootstrap.ocp4.example.com", "ocp4.example.com", "192.168.67.1"}
	pool := []string{"192.168.67.1", "example.com"}
	stranger := "02:00:00:00:00:01"
	udhcpc := []string{"udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "5", "-T", "2"}
	dhclient := []string{"dhclient", "-1", "-d", "-cf", "/dev/null", "-lf", "LEASES", "-pf", "PID", "eth0"}
	tests := []struct {
		name string
		mac  string
		argv []string
		want []string
	}{
		{"udhcpc of a node, which cannot be broadcast to", nodeMAC.String(), udhcpc, node},
		{"udhcpc of a node that wants broadcasts", nodeMAC.String(), append(udhcpc, "-B"), node},
		{"udhcpc of a node with a client id of its own", nodeMAC.String(), append(udhcpc, "-x", "0x3d:00112233"), node},
		{"udhcpc of a stranger", stranger, udhcpc, pool},
		{"dhclient of a node", nodeMAC.String(), dhclient, node},
		{"dhclient of a stranger", "02:00:00:00:00:02", dhclient, pool},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cli.IP(t, "address", "flush", "dev", "eth0")
			setMAC(t, cli, stringer(tt.mac))
			path, out := script(t)
			argv := append([]string(nil), tt.argv...)
			for i, a := range argv {
				if a == "LEASES" || a == "PID" {
					argv[i] = filepath.Join(t.TempDir(), a)
				}
			}
			cmd := cli.Exec(argv[0], append(argv[1:], scriptArg(argv[0]), path)...)
			run(t, cmd, func() bool {
				b, _ := os.ReadFile(out)
				return strings.Contains(string(b), "event=bound") || strings.Contains(string(b), "event=BOUND")
			})
			got, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(got), want) {
					t.Errorf("the client was not told %q:\n%s", want, got)
				}
			}
		})
	}
	t.Run("firmware of a stranger gets no answer", func(t *testing.T) {
		setMAC(t, cli, stringer("02:00:00:00:00:03"))
		path, _ := script(t)
		cmd := cli.Exec("udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "2", "-T", "1", "-V", "PXEClient:Arch:00007:UNDI:003000", "-x", "0x5d:0007", "-s", path)
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("it got a lease:\n%s", out)
		}
		p.until("events", contains(`02:00:00:00:00:03 wants to boot from the network`))
	})
	if got := p.do("leases"); !strings.Contains(got, stranger) || strings.Contains(got, "192.168.67.10\"") {
		t.Errorf("leases: %s", got)
	}
	p.stop()
}

type stringer string

func (s stringer) String() string { return string(s) }

func scriptArg(client string) string {
	if client == "dhclient" {
		return "-sf"
	}
	return "-s"
}

// run starts a client, waits until done, and ends it.
func run(t *testing.T, cmd *exec.Cmd, done func() bool) {
	t.Helper()
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
	}()
	for deadline := time.Now().Add(15 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			t.Fatalf("not done after 15 s:\n%s", log.String())
		}
	}
}

// A client renews by unicast; the answer must reach it even when the kernel's
// neighbour table still has another machine at its address.
func TestRenewWithStaleNeighbour(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "udhcpc")
	srv, cli := lan(t)
	startProcess(t, srv, t.TempDir(), "lan")
	setMAC(t, cli, nodeMAC)
	path, out := script(t)
	cmd := cli.Exec("udhcpc", "-i", "eth0", "-f", "-s", path)
	saw := func(what string) bool {
		b, _ := os.ReadFile(out)
		return strings.Contains(string(b), what)
	}
	asked := false
	run(t, cmd, func() bool {
		if !asked && saw("event=bound") {
			srv.IP(t, "neighbour", "replace", "192.168.67.10", "lladdr", "02:de:ad:00:00:01", "dev", "eth0", "nud", "permanent")
			asked = true
			_ = cmd.Process.Signal(syscall.SIGUSR1) // renew now
		}
		return saw("event=renew")
	})
}
