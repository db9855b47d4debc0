package clients_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"helperd/test/rig"
)

// TestUnprivileged looks at the process: any user, and of root's powers only
// those to bind low ports and to send raw frames.
func TestUnprivileged(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Start(t)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	must(t, err)
	const netBindService, netRaw = 1 << 10, 1 << 13
	for _, want := range []string{
		`(?m)^Name:\s+helperd$`, `(?m)^Uid:\s+65534\s+65534\s`, `(?m)^NoNewPrivs:\s+1$`,
		fmt.Sprintf(`(?m)^CapEff:\s+%016x$`, netBindService|netRaw), fmt.Sprintf(`(?m)^CapBnd:\s+%016x$`, netBindService|netRaw),
	} {
		if !regexp.MustCompile(want).Match(status) {
			t.Errorf("/proc/PID/status does not match %s:\n%s", want, status)
		}
	}
}
