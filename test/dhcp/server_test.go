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

	"helperd/api"
	"helperd/test/rig"
)

// Facts of testdata, which say the same to each server.
const (
	serverIP = "192.168.67.2"
	routerIP = "192.168.67.1"
	zone     = "ocp4.example.com"
	lease    = 4 * 3600 // seconds
)

// names of the servers under test. The peers are independent of helperd and of each other.
const (
	helperd = "helperd"
	dhcpd   = "dhcpd"
	dnsmasq = "dnsmasq"
)

// start runs a server at the far end of a link until the test ends.
func start(t *testing.T, name string, l *link) {
	t.Helper()
	dir, err := os.MkdirTemp("", "helperd-conform-") // a short path: it holds a unix socket
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	in := func(file string) string { return filepath.Join(dir, file) }
	configure := func(file string) string {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		must(t, err)
		must(t, os.WriteFile(in(file), []byte(strings.ReplaceAll(string(b), "/srv/", dir+"/")), 0o644))
		return in(file)
	}
	switch name {
	case helperd:
		for _, f := range []string{"kernel", "initramfs", "rootfs", "bootstrap.ign", "master.ign", "worker.ign"} {
			must(t, os.WriteFile(in(f), []byte(`{"ignition":{"version":"3.2.0"}}`), 0o644))
		}
		client := api.NewClient(in("admin.sock"))
		run := l.server.Exec(rig.Binary(t, dir), "run", "--config", configure("helper.yaml"), "--state", in("state"), "--socket", in("admin.sock"))
		spawn(t, run, func() bool {
			s, err := client.Status(t.Context())
			return err == nil && s.Configuration.State == api.Applied
		})
	case dhcpd:
		must(t, os.WriteFile(in("leases"), nil, 0o644))
		spawn(t, l.server.Exec("dhcpd", "-4", "-q", "-f", "-user", "root", "-group", "root", "-cf", configure("dhcpd.conf"), "-lf", in("leases"), "-pf", in("pid"), l.dev), nil)
	case dnsmasq:
		spawn(t, l.server.Exec("dnsmasq", "-k", "-C", configure("dnsmasq.conf"), "--interface="+l.dev, "--dhcp-leasefile="+in("leases"), "--pid-file="+in("pid"), "-u", "root", "--log-facility=-"), nil)
	}
}

// spawn runs a program until the test ends, and waits until it serves. What it said is shown when the test fails.
func spawn(t *testing.T, cmd *exec.Cmd, serves func() bool) {
	t.Helper()
	log := &rig.Output{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // ends with the test, whatever ends the test
	must(t, cmd.Start())
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
	t.Cleanup(func() {
		select {
		case <-gone:
			t.Errorf("it ended by itself: %v", cmd.ProcessState)
		default:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-gone:
			case <-time.After(patience):
				_ = cmd.Process.Kill()
				<-gone
			}
		}
		if t.Failed() {
			t.Logf("what %s said:\n%s", cmd, log)
		}
	})
	for end := time.Now().Add(2 * patience); serves != nil && !serves(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-gone:
			t.FailNow()
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("it does not serve within %v", 2*patience)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// node is the MAC of a machine in testdata: hosts 1 to 40 have 192.168.67.20 and the number.
func node(n int) (mac, string) {
	return mac{0x52, 0x54, 0, 0x44, 0, byte(n)}, fmt.Sprintf("192.168.67.%d", 20+n)
}
