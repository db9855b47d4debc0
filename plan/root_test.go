package plan

import (
	"strings"
	"testing"

	"helperd/config"
)

// What the daemon keeps for itself is nothing that everybody may fetch.
func TestStateInARootIsRefused(t *testing.T) {
	for root, refused := range map[string]bool{"/var": true, "/": true, "/var/lib/helperd": true, "/var/lib/helperd/www": false, "/srv/www": false} {
		c, ds := config.Load([]byte("version: 1\nhelper: {address: 10.0.0.2}\nnetworks: [{cidr: 10.0.0.0/24, gateway: 10.0.0.1}]\nhttp: {root: " + root + "}\n"))
		if ds.HasErrors() {
			t.Fatal(ds)
		}
		_, ds = Compile(c, Facts{StateDir: "/var/lib/helperd"})
		if got := strings.Count(ds.Error(), "holds helperd's own state"); got != map[bool]int{true: 1}[refused] {
			t.Errorf("http.root %s: said %d times: %v", root, got, ds)
		}
		if _, ds = Compile(c, Facts{}); ds.HasErrors() {
			t.Errorf("without a daemon: %v", ds)
		}
	}
}
