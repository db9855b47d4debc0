package http

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"helperd/nodes"
	"helperd/plan"
	"helperd/services"
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

// withCert is a pointer configuration as the installer writes it, whose CA ends in d.
func withCert(t testing.TB, d time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(d)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return fmt.Sprintf(`{"ignition":{"version":"3.2.0","security":{"tls":{"certificateAuthorities":[{"source":"data:text/plain;charset=utf-8;base64,%s"}]}}}}`, text)
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
		{"a master that never had a script", nil, masterAddr, masterIgn, "", 503, "helperd nodes arm m0"},
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

// A node that DHCP gave nothing has no token to show: the neighbour table must know it.
func TestIgnitionWithoutToken(t *testing.T) {
	tests := []struct {
		name   string
		mac    plan.MAC // that has the worker's address; zero: a router is between
		acked  bool     // by our DHCP, after the script
		armed  bool
		status int
		says   string
	}{
		{"a neighbour", plan.MAC{0x52, 0x54, 0, 0, 0, 2}, false, false, 200, ""},
		{"another machine that took the address", plan.MAC{2, 0, 0, 0, 0, 9}, false, false, 503, "02:00:00:00:00:09, which is none of w0"},
		{"the same, with a lease of the node's", plan.MAC{2, 0, 0, 0, 0, 9}, true, false, 503, "none of w0"},
		{"behind a router", plan.MAC{}, false, false, 503, "helperd nodes arm w0"},
		{"behind a relay of ours", plan.MAC{}, true, false, 200, ""},
		{"behind a router, armed", plan.MAC{}, false, true, 200, ""},
		{"a card that is not in the file, armed", plan.MAC{2, 0, 0, 0, 0, 9}, false, true, 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t, nil)
			if a := g.do(t, "GET", workerAddr, ignPath); a.StatusCode != 503 || !strings.Contains(a.body, "boot script") {
				t.Errorf("before its script: %s: %s", a.Status, a.body)
			}
			g.do(t, "GET", workerAddr, "/boot/52-54-00-00-00-02.ipxe")
			g.has(g.worker.IP, tt.mac)
			if tt.acked {
				g.host.Nodes.Acked(g.worker.MACs[0], g.worker.IP)
			}
			if tt.armed {
				g.host.Nodes.Arm(g.worker)
			}
			a := g.do(t, "GET", workerAddr, ignPath, "Host: "+masterAddr, "X-Forwarded-For: "+masterAddr)
			if a.StatusCode != tt.status || !strings.Contains(a.body, tt.says) {
				t.Errorf("%s: %s", a.Status, a.body)
			}
			if tt.status == 503 {
				if e := g.seen(t, timeline.IgnitionRefused, ignPath); !strings.Contains(e.Detail, tt.says) || e.Node != g.worker.FQDN {
					t.Errorf("event %+v", e)
				}
				if h := g.events.Story(g.worker.FQDN).Hint; !strings.Contains(h, tt.says) {
					t.Errorf("hint %q", h)
				}
			}
			if a := g.do(t, "GET", masterAddr, ignPath); a.StatusCode != 403 {
				t.Errorf("another node's address: %s: %s", a.Status, a.body)
			}
		})
	}
}

// What a client writes into its headers is nobody's address.
func TestIgnitionForgedHeaders(t *testing.T) {
	g := newRig(t, nil)
	token := g.script(t)
	for _, from := range []string{masterAddr, poolAddr, farAddr} {
		request := "GET " + ignPath + "?token=" + token + " HTTP/1.1\r\nHost: " + workerAddr + "\r\n"
		for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "Client-IP", "True-Client-IP", "X-Client-IP"} {
			request += name + ": " + workerAddr + "\r\n"
		}
		request += "Forwarded: for=" + workerAddr + "\r\n"
		if a := g.raw(t, from, request+"\r\n"); a.StatusCode != 403 {
			t.Errorf("from %s: %s", from, a.Status)
		}
	}
}

// A download that broke off is begun again, and consumes nothing.
func TestIgnitionAfterABrokenTry(t *testing.T) {
	g := newRig(t, nil)
	g.write(t, "worker.ign", fmt.Sprintf(`{"ignition":{"version":"3.2.0"},"x":%q}`, strings.Repeat("x", 2<<20)))
	url := ignPath + "?token=" + g.script(t)
	c := g.dial(t, workerAddr, "GET "+url+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.CopyN(io.Discard, c, 1000); err != nil {
		t.Fatal(err)
	}
	c.SetLinger(0)
	c.Close()
	g.seen(t, timeline.HTTPFailed, ignPath)
	if s := g.host.Nodes.State(g.worker); s.IgnitionDone || !s.TokenEnd.IsZero() {
		t.Errorf("half a file counts: %+v", s)
	}
	if a := g.do(t, "GET", workerAddr, url); a.StatusCode != 200 || len(a.body) < 2<<20 {
		t.Errorf("%s, %d bytes", a.Status, len(a.body))
	}
}

// The node's own file comes before the role's, and its own URL merges name and role.
func TestIgnitionOfOneNode(t *testing.T) {
	const own = "/ignition/ocp4.example.com/w0.ign"
	g := newRig(t, nil)
	token := "?token=" + g.script(t)
	role, err := os.ReadFile(filepath.Join(g.dir, "worker.ign"))
	if err != nil {
		t.Fatal(err)
	}
	if a := g.do(t, "GET", workerAddr, ignPath+token); a.body != string(role) {
		t.Errorf("the role's file is changed: %s", a.body)
	}
	if a := g.do(t, "GET", workerAddr, own+token); a.StatusCode != 200 || !strings.Contains(a.body, "/etc/hostname") {
		t.Errorf("merged: %s: %s", a.Status, a.body)
	}
	if a := g.do(t, "GET", masterAddr, own+token); a.StatusCode != 403 || !strings.Contains(a.body, "node w0 alone") {
		t.Errorf("another node: %s: %s", a.Status, a.body)
	}
	const mine = `{"ignition":{"version":"3.1.0"}}`
	g.write(t, "w0.ign", mine)
	for _, path := range []string{ignPath, own} {
		if a := g.do(t, "GET", workerAddr, path+token); a.body != mine {
			t.Errorf("%s: %s: %s", path, a.Status, a.body)
		}
	}
	g.write(t, "w0.ign", "{")
	if a := g.do(t, "GET", workerAddr, ignPath+token); a.StatusCode != 503 || !strings.Contains(a.body, "w0.ign of ocp4.example.com is no ignition file: line 1") {
		t.Errorf("%s: %s", a.Status, a.body)
	}
}

// People read in the status what is wrong with the files before a node asks.
func TestIgnitionStatus(t *testing.T) {
	for _, tt := range []struct{ name, file, content, says string }{
		{"ends soon", "worker.ign", withCert(t, 5*time.Hour+30*time.Minute), "ends in 5h30m0s"},
		{"expired", "worker.ign", withCert(t, -time.Hour), "expired 1h0m0s ago"},
		{"broken", "worker.ign", "{", "line 1, column"},
		{"of one node", "w0.ign", "{", "w0.ign of ocp4.example.com is no ignition file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t, nil)
			g.put(t, "rootfs.img", 10)
			g.write(t, tt.file, tt.content)
			if s := g.Status(); s.State != services.Degraded || !strings.Contains(s.Problem, tt.says) {
				t.Errorf("%s: %s", s.State, s.Problem)
			}
		})
	}
}

func TestIgnitionExpiryMetric(t *testing.T) {
	g := newRig(t, nil)
	if at := g.expiry(); at != 0 {
		t.Errorf("files without certificates end at %v", at)
	}
	g.write(t, "worker.ign", withCert(t, 10*time.Hour))
	g.write(t, "master.ign", withCert(t, 5*time.Hour))
	if left := time.Until(time.Unix(int64(g.expiry()), 0)); left > 5*time.Hour || left < 4*time.Hour {
		t.Errorf("the first ends in %v, want 5h", left)
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
	if a := g.do(t, "GET", workerAddr, ignPath+"?token="+g.script(t)); a.StatusCode != 503 || !strings.Contains(a.body, "right to read it") {
		t.Errorf("%s: %s", a.Status, a.body)
	}
}
