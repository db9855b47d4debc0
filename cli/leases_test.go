package cli_test

import (
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/api"
	"helperd/plan"
	"helperd/state"
)

// In a pipe a line is added for each change, and nothing is said twice.
func TestWatchLeases(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "s")
	d := healthy()
	change := make(chan func(*daemon), 1)
	if _, err := serve(t, changing{d, change}, sock); err != nil {
		t.Fatal(err)
	}
	f := follow(t, "leases", "192.168.67.0/24", "--pool", "--watch", "--socket", sock)
	for _, want := range []string{"192.168.67.100   leased    3h7m", "192.168.67.101   expired ", "192.168.67.102   declined  2d2h"} {
		if got := f.next(t); !strings.Contains(got, want) || strings.Contains(got, "\x1b") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	change <- func(d *daemon) {
		d.leases = append(d.leases[:3:3], api.Lease{Kind: "pool", Lease: state.Lease{
			Address: netip.MustParseAddr("192.168.67.109"), MAC: plan.MAC{2, 0, 0, 0, 0, 9}, Expires: time.Now().Add(time.Hour + 30*time.Second), State: state.Bound,
		}})
	}
	for _, want := range []string{"192.168.67.109   leased    1h0m    02:00:00:00:00:09", "192.168.67.102   free              02:00:00:00:00:03"} {
		if got := f.next(t); !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	change <- func(d *daemon) { d.leases[3].Expires = time.Now().Add(2*time.Hour + 30*time.Second) }
	if got := f.next(t); !strings.HasSuffix(got, "192.168.67.109   renewed   2h0m    02:00:00:00:00:09") {
		t.Errorf("got %q", got)
	}
	if err := f.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if rest, code := f.end(t); code != 0 || rest != "" || f.stderr.Len() > 0 {
		t.Errorf("after SIGINT: exit code %d, stdout %q, stderr %q", code, rest, f.stderr.String())
	}
}
