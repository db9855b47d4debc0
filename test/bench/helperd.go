package bench

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"helperd/api"
	"helperd/test/rig"
)

// Helperd is the real daemon, with extra as the rest of its configuration, in
// which ADDRESS stands for its own; it may begin with more networks. It answers
// DNS, HTTP and TFTP there; DHCP is off in the network of the lab. It starts without state.
func (l *Lab) Helperd(t testing.TB, extra string) Server {
	t.Helper()
	must(t, os.Mkdir(l.helperd(), 0o755))
	program := rig.Binary(t, l.helperd())
	return Server{
		Name: "helperd",
		Command: func(addr netip.Addr) []string {
			l.configure(t, addr, extra)
			must(t, os.RemoveAll(l.helperd("state")))
			return []string{program, "run", "--config", l.helperd("helper.yaml"), "--state", l.helperd("state"), "--socket", l.helperd("socket")}
		},
		Ready: func(netip.Addr) error { _, err := l.status(); return err },
	}
}

// Apply changes the configuration of the daemon at addr and waits until it serves it.
func (l *Lab) Apply(t testing.TB, addr netip.Addr, extra string) {
	t.Helper()
	before, err := l.status()
	must(t, err)
	l.configure(t, addr, extra)
	must(t, await(func() error {
		now, err := l.status()
		if err == nil && (now.Generation == before.Generation || now.Configuration.State != api.Applied) {
			err = fmt.Errorf("the changed file is not served: %+v", now.Configuration)
		}
		return err
	}))
}

// helperd is the path of a file of the daemon.
func (l *Lab) helperd(name ...string) string {
	return filepath.Join(append([]string{l.Dir, "helperd"}, name...)...)
}

// configure writes the file of the daemon as editors do.
func (l *Lab) configure(t testing.TB, addr netip.Addr, extra string) {
	t.Helper()
	text := fmt.Sprintf("version: 1\nhelper: {address: %s}\nnetworks:\n  - {cidr: 192.0.2.0/24, dhcp: {mode: \"off\"}}\n%s\n", addr, strings.ReplaceAll(extra, "ADDRESS", addr.String()))
	must(t, os.WriteFile(l.helperd("new.yaml"), []byte(text), 0o644))
	must(t, os.Rename(l.helperd("new.yaml"), l.helperd("helper.yaml")))
}

func (l *Lab) status() (api.Status, error) {
	var s api.Status
	out, err := exec.Command(l.helperd("helperd"), "status", "--socket", l.helperd("socket"), "-o", "json").Output()
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	if err != nil {
		err = fmt.Errorf("helperd status: %w: %s", err, out)
	}
	return s, err
}
