package http

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"helperd/nodes"
	"helperd/plan"
	"helperd/timeline"
)

// script boots the worker and gives the token of its kernel arguments.
func (g *rig) script(t *testing.T) string {
	t.Helper()
	g.host.Nodes.Acked(g.worker.MACs[0], g.worker.IP)
	text := g.do(t, "GET", workerAddr, "/boot/52-54-00-00-00-02.ipxe").body
	m := regexp.MustCompile(`worker\.ign\?token=(\w+)`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no token in %s", text)
	}
	return m[1]
}

func TestIgnitionGate(t *testing.T) {
	missing := func(t *testing.T, g *rig) {
		if err := os.Remove(filepath.Join(g.dir, "worker.ign")); err != nil {
			t.Fatal(err)
		}
	}
	worker := func(g *rig) *plan.Ignition {
		p := *g.plan // a plan that is served is never written to
		p.HTTP.Ignition = append([]plan.Ignition(nil), p.HTTP.Ignition...)
		g.plan = &p
		return &p.HTTP.Ignition[1]
	}
	open := func(_ *testing.T, g *rig) { worker(g).Open = true }
	tests := []struct {
		name    string
		prepare func(*testing.T, *rig)
		addr    string
		path    string
		token   string // TOKEN: the one of the script
		status  int
		says    string // in the body of a refusal
	}{
		{"the node with its token", nil, workerAddr, ignPath, "TOKEN", 200, ""},
		{"without token", nil, workerAddr, ignPath, "", 403, "boot w0 from the network again"},
		{"wrong token", nil, workerAddr, ignPath, "AAAA", 403, "boot w0 from the network again"},
		{"another role", nil, masterAddr, ignPath, "TOKEN", 403, "m0 of role master"},
		{"the node asks for another role's", nil, workerAddr, masterIgn, "TOKEN", 403, "correct its `role`"},
		{"a master that never had a script", nil, masterAddr, masterIgn, "", 200, ""},
		{"a machine that is no node", nil, poolAddr, ignPath, "TOKEN", 403, "ignition_gate: open"},
		{"from outside", nil, farAddr, ignPath, "TOKEN", 403, "address of no node"},
		{"not there yet", missing, workerAddr, ignPath, "TOKEN", 503, "openshift-install create ignition-configs"},
		{"not there yet, and no right to it", missing, poolAddr, ignPath, "", 403, "address of no node"},
		{"empty", func(t *testing.T, g *rig) { g.write(t, "worker.ign", "") }, workerAddr, ignPath, "TOKEN", 503, "empty"},
		{"a folder", func(t *testing.T, g *rig) { missing(t, g); g.write(t, "worker.ign/x", "") }, workerAddr, ignPath, "TOKEN", 503, "not a file"},
		{"not JSON", func(t *testing.T, g *rig) { g.write(t, "worker.ign", `{"ignition":`) }, workerAddr, ignPath, "TOKEN", 503, "no ignition file"},
		{"expired", func(t *testing.T, g *rig) { g.write(t, "worker.ign", withCert(t, -time.Hour)) }, workerAddr, ignPath, "TOKEN", 503, "expired 1h0m0s ago"},
		{"not expired", func(t *testing.T, g *rig) { g.write(t, "worker.ign", withCert(t, time.Hour)) }, workerAddr, ignPath, "TOKEN", 200, ""},
		{"expired and wanted", func(t *testing.T, g *rig) {
			g.write(t, "worker.ign", withCert(t, -time.Hour))
			worker(g).Expired = true
		}, workerAddr, ignPath, "TOKEN", 200, ""},
		{"open gate, any machine", open, poolAddr, ignPath, "", 200, ""},
		{"open gate, from outside", open, farAddr, ignPath, "", 403, "networks:"},
		{"open gate, other files stay strict", open, poolAddr, masterIgn, "", 403, "address of no node"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t, nil)
			token := g.script(t)
			if tt.prepare != nil {
				tt.prepare(t, g)
				g.apply(t, g.plan)
			}
			path := tt.path
			if tt.token != "" {
				path += "?token=" + strings.Replace(tt.token, "TOKEN", token, 1)
			}
			for _, method := range []string{"HEAD", "GET"} {
				a := g.do(t, method, tt.addr, path)
				if a.StatusCode != tt.status {
					t.Fatalf("%s: %s: %s, want %d", method, a.Status, a.body, tt.status)
				}
				if c := a.Header.Get("Cache-Control"); c != "no-store" {
					t.Errorf("Cache-Control is %q", c)
				}
				if method == "GET" && !strings.Contains(a.body, tt.says) {
					t.Errorf("the body says %q, want %q", a.body, tt.says)
				}
				if strings.Contains(a.body, g.dir) {
					t.Errorf("the body shows a path of the server: %q", a.body)
				}
				if (a.Header.Get("Retry-After") != "") != (tt.status == 503) {
					t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
				}
			}
			kind := timeline.IgnitionRefused
			if tt.status == 200 {
				kind = timeline.IgnitionServed
			}
			if e := g.seen(t, kind, tt.path); e.Addr != netip.MustParseAddr(tt.addr) || !strings.Contains(e.Detail, tt.says) {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// Only what was fetched whole counts, and HEAD consumes nothing.
func TestIgnitionConsumes(t *testing.T) {
	g := newRig(t, nil)
	token := g.script(t)
	state := func() nodes.State { return g.host.Nodes.State(g.worker) }
	g.do(t, "HEAD", workerAddr, ignPath+"?token="+token)
	g.do(t, "HEAD", workerAddr, rootfsPath)
	g.do(t, "GET", workerAddr, rootfsPath, "Range: bytes=0-1000")
	g.do(t, "GET", masterAddr, rootfsPath)
	if s := state(); s.IgnitionDone || s.RootfsDone || !s.TokenEnd.IsZero() {
		t.Errorf("after HEAD and a part: %+v", s)
	}
	if a := g.do(t, "GET", workerAddr, ignPath+"?token="+token, "Range: bytes=0-3"); a.StatusCode != 200 || !strings.Contains(a.body, "worker") {
		t.Errorf("an ignition file is whole or not at all: %s %s", a.Status, a.body)
	}
	// The client has the last byte a moment before the server notes it.
	eventually(t, "ignition is noted, and rootfs is not", func() bool { s := state(); return s.IgnitionDone && !s.RootfsDone && !s.TokenEnd.IsZero() })
	g.do(t, "GET", workerAddr, ignPath+"?token="+token) // the token serves for a while
	g.do(t, "GET", workerAddr, rootfsPath, "Range: bytes=0-")
	eventually(t, "the node is written", func() bool { return state().Phase == nodes.Written })
	if s := g.events.Story(g.worker.FQDN); s.Stage != timeline.Ignition {
		t.Errorf("stage %s: %+v", s.Stage, s)
	}
}

// A node whose address nobody proves has no token to show: its address speaks for it.
func TestIgnitionUnproven(t *testing.T) {
	g := newRig(t, nil)
	g.do(t, "GET", workerAddr, "/boot/52-54-00-00-00-02.ipxe")
	if a := g.do(t, "GET", workerAddr, ignPath); a.StatusCode != 200 {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if a := g.do(t, "GET", masterAddr, ignPath); a.StatusCode != 403 {
		t.Errorf("another node's address: %s: %s", a.Status, a.body)
	}
}

// An unreadable file is a matter of the helper: the installer tries again.
func TestIgnitionUnreadable(t *testing.T) {
	g := newRig(t, nil)
	path := filepath.Join(g.dir, "worker.ign")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("worker.ign", path); err != nil { // a link to itself: root cannot read it either
		t.Fatal(err)
	}
	if a := g.do(t, "GET", workerAddr, ignPath); a.StatusCode != 503 || !strings.Contains(a.body, "right to read it") {
		t.Errorf("%s: %s", a.Status, a.body)
	}
}
