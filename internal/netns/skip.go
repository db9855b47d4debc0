package netns

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// SkipOrFail ends the test because this machine cannot run it: it is skipped
// for reason, or fails when HELPERD_NO_SKIP=1. A test that is always skipped
// proves nothing, so CI sets the variable.
func SkipOrFail(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("HELPERD_NO_SKIP") == "1" {
		t.Fatalf("cannot run here and HELPERD_NO_SKIP=1 forbids to skip: %s", reason)
	}
	t.Skip(reason)
}

// Tools ends the test by SkipOrFail unless all the named programs are in PATH.
func Tools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			SkipOrFail(t, "program "+name+" is not installed: see test/packages.sh")
		}
	}
}

// Require ends the test by SkipOrFail unless namespaces can be made here.
func Require(t testing.TB) {
	t.Helper()
	if !mayAdmin() {
		SkipOrFail(t, "network namespaces need CAP_SYS_ADMIN and CAP_NET_ADMIN: run as root")
	}
	Tools(t, "ip")
}

// mayAdmin reads the effective capabilities: root in a container often lacks them.
func mayAdmin() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	const want = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN
	return data[0].Effective&want == want
}
