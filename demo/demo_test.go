package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helperd/ghost"
	"helperd/internal/netns"
)

// TestMain is also what Enter runs inside of the namespace.
func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != "inside" {
		os.Exit(m.Run())
	}
	opt := Options{Out: os.Stdout, JSON: true, standIns: true}
	switch os.Args[2] {
	case "rootfs":
		opt.spoil = func(s *site) { _ = os.Remove(s.cfg.Artifacts[0].Rootfs.File) }
		opt.patience = 3 * time.Second
	case "vendor":
		opt.spoil, opt.brief = vendorLoaders, true
	case "ignition":
		opt.spoil = func(s *site) { _ = os.WriteFile(s.cfg.Clusters[0].Ignition+"/worker.ign", []byte("{"), 0o600) }
		opt.patience = 3 * time.Second
	}
	if err := Run(context.Background(), opt); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// inside runs the demonstration and gives what it wrote. That takes up to 20 s,
// mostly spent waiting for the balancer's health checks.
func inside(t *testing.T, how string) (lines []line, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = Enter(t.Context(), []string{"inside", how}, &out, &errs)
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		netns.SkipOrFail(t, err.Error())
	}
	for text := range strings.Lines(out.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q is no JSON: %v", text, err)
		}
		lines = append(lines, l)
	}
	return lines, errs.String(), err
}

func TestDemo(t *testing.T) {
	t.Parallel()
	wanted := []string{"connection is still open", "all 7 nodes are ready", "bootstrap is switched off", "apps.ocp4.example.com/ answered by worker"}
	lines, stderr, err := inside(t, "whole")
	if err != nil {
		for _, l := range lines {
			t.Logf("%6.2f %-10s %-9s %s %s", l.Seconds, l.Node, l.Stage, l.Detail, l.Error)
		}
		t.Fatalf("%v\n%s", err, stderr)
	}
	passed := map[string][]ghost.Stage{}
	for _, l := range lines {
		passed[l.Node] = append(passed[l.Node], l.Stage)
	}
	for _, node := range []string{"bootstrap", "master-0", "master-1", "master-2", "worker-0", "worker-1", "worker-2"} {
		for _, stage := range []ghost.Stage{ghost.StageDHCP, ghost.StageLoader, ghost.StageKernel, ghost.StageLive, ghost.StageRootfs, ghost.StageIgnition, ghost.StageDNS, ghost.StageDisk, ghost.StageInstalled, ghost.StageReady} {
			if !strings.Contains(fmt.Sprint(passed[node]), string(stage)) {
				t.Errorf("%s never passed %s: %v", node, stage, passed[node])
			}
		}
	}
	for _, want := range wanted {
		if !slices.ContainsFunc(lines, func(l line) bool { return strings.Contains(l.Detail, want) }) {
			t.Errorf("it never says %q", want)
		}
	}
}

// TestVendorLoaders boots the UEFI machines by shim and GRUB.
func TestVendorLoaders(t *testing.T) {
	t.Parallel()
	lines, stderr, err := inside(t, "vendor")
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	for _, want := range []string{"shimx64.efi by TFTP", "shimx64.efi by HTTP", "GRUB reads /artifacts/", "GRUB reads http://", "iPXE runs"} {
		if !slices.ContainsFunc(lines, func(l line) bool { return strings.Contains(l.Detail, want) }) {
			t.Errorf("no machine says %q", want)
		}
	}
}

// TestStuckDemoFails: a demonstration that cannot fail shows nothing.
func TestStuckDemoFails(t *testing.T) {
	t.Parallel()
	for how, says := range map[string]string{"rootfs": "/artifacts/rhcos/rootfs", "ignition": "worker.ign"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			_, stderr, err := inside(t, how)
			var failed *exec.ExitError
			if !errors.As(err, &failed) || failed.ExitCode() != 1 {
				t.Errorf("it ended with %v, want exit code 1", err)
			}
			if !strings.Contains(stderr, says) {
				t.Errorf("it does not say %q:\n%s", says, stderr)
			}
		})
	}
}

func TestRemedy(t *testing.T) {
	t.Parallel()
	for file, says := range map[string]string{
		"/proc/sys/user/max_user_namespaces":                     "sysctl -w user.max_user_namespaces=15000",
		"/proc/sys/kernel/unprivileged_userns_clone":             "sysctl -w kernel.unprivileged_userns_clone=1",
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
		"": "--privileged",
	} {
		got := remedy(func(path string) ([]byte, error) {
			if path != file {
				return nil, os.ErrNotExist
			}
			if strings.HasSuffix(path, "restrict_unprivileged_userns") {
				return []byte("1\n"), nil
			}
			return []byte("0\n"), nil
		})
		if !strings.Contains(got, says) {
			t.Errorf("%s: %q does not say %q", file, got, says)
		}
	}
}

func TestOnlyInItsOwnNamespace(t *testing.T) {
	ns := netns.New(t)
	ns.Bridge(t, "d0", "")
	if err := ns.Call(ownNamespace); err == nil || !strings.Contains(err.Error(), "d0") {
		t.Errorf("beside an interface of the machine it says %v", err)
	}
}

// vendorLoaders gives the artifact a shim and a GRUB of its own, as for Secure Boot.
func vendorLoaders(s *site) {
	folder := filepath.Join(s.dir, "srv", "loader")
	for _, name := range []string{"shimx64.efi", "grubx64.efi"} {
		if err := noise(filepath.Join(folder, name), loaderSize); err != nil {
			panic(err)
		}
	}
	s.text = strings.Replace(s.text, "    arch: x86_64\n", "    arch: x86_64\n    loader: "+folder+"\n", 1)
	if err := s.write(); err != nil {
		panic(err)
	}
}
