package bench

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"helperd/test/rig"
)

// Helperd is the real daemon, with extra as the rest of its configuration. It
// answers DNS, HTTP and TFTP at its address; DHCP is off.
func (l *Lab) Helperd(t testing.TB, extra string) Server {
	t.Helper()
	dir := filepath.Join(l.Dir, "helperd")
	must(t, os.Mkdir(dir, 0o755))
	program := rig.Binary(t, dir)
	socket := filepath.Join(dir, "socket")
	return Server{
		Name: "helperd",
		Command: func(addr netip.Addr) []string {
			file := filepath.Join(dir, "helper.yaml")
			text := fmt.Sprintf("version: 1\nhelper: {address: %s}\nnetworks:\n  - {cidr: 192.0.2.0/24, dhcp: {mode: \"off\"}}\n%s\n", addr, extra)
			must(t, os.WriteFile(file, []byte(text), 0o644))
			return []string{program, "run", "--config", file, "--state", filepath.Join(dir, "state"), "--socket", socket}
		},
		Ready: func(netip.Addr) error {
			if out, err := exec.Command(program, "status", "--socket", socket).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		},
	}
}
