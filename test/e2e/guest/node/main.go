// Command node is what the machines of the end-to-end test run in place of the
// RHCOS live installer (4.6 and later) or the installer of 4.5. It reads the
// same kernel arguments, fetches image and ignition as the installer does,
// writes the image to the disk, and asks the helper's DNS and balancer what a
// node asks. It prints one line a check:
//
//	E2E check NAME ok DETAIL
//	E2E check NAME FAIL DETAIL
//	E2E result ok
//
// Kernel arguments of its own: e2e.sha256.FILE=SUM for every file that it
// fetches, e2e.balancer=ADDRESS of the cluster, e2e.controlplane=NAME,NAME for
// the machines that may answer there, and e2e.neighbour=ZONE:NAME,NAME for those
// of another cluster at the same address.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// node is this machine as it was booted.
type node struct {
	args   map[string]string // kernel arguments; the last of a name counts
	lease  map[string]string // what DHCP gave, by udhcpc's names
	failed bool
}

func main() {
	n := &node{args: map[string]string{}, lease: map[string]string{}}
	cmdline, err := os.ReadFile("/proc/cmdline")
	n.check("cmdline", strings.TrimSpace(string(cmdline)), err)
	for _, arg := range strings.Fields(string(cmdline)) {
		name, value, _ := strings.Cut(arg, "=")
		n.args[name] = value
	}
	if n.args["ip"] == "dhcp6" {
		n.check("lease", "", n.takeLease6("eth0"))
	} else {
		n.check("lease", "", n.readLease("/run/lease"))
	}
	n.install()
	n.names()
	n.balancer()
	result := "ok"
	if n.failed {
		result = "FAIL"
	}
	fmt.Println("E2E result", result)
}

// check prints the outcome of one check and gives whether it passed.
func (n *node) check(name, detail string, err error) bool {
	if err != nil {
		n.failed = true
		fmt.Println("E2E check", name, "FAIL", err)
		return false
	}
	fmt.Println("E2E check", name, "ok", detail)
	return true
}

func (n *node) readLease(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), "=")
		n.lease[name] = value
		fmt.Println("E2E lease", s.Text())
	}
	for _, name := range []string{"ip", "mask", "hostname", "dns", "router", "lease"} {
		if n.lease[name] == "" {
			return fmt.Errorf("no %s in the lease", name)
		}
	}
	return nil
}

// zone of the cluster: the host name without its first label.
func (n *node) zone() string {
	_, zone, _ := strings.Cut(n.lease["hostname"], ".")
	return zone
}
