package nodes

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

// cluster puts the rig's node into a cluster with a master.
func (g *rig) cluster() *plan.Plan {
	cl := &plan.Cluster{Name: "ocp4", Zone: "ocp4.example.com"}
	g.node.Cluster, g.node.Role = cl, plan.Worker
	m := &plan.Node{Name: "m0", FQDN: "m0.ocp4.example.com", Cluster: cl, Role: plan.Master, MACs: []plan.MAC{{3}}, IP: netip.MustParseAddr("10.0.0.11")}
	cl.Nodes = []*plan.Node{m, g.node}
	return &plan.Plan{Clusters: []*plan.Cluster{cl}, Nodes: cl.Nodes, LB: plan.LB{Enabled: true}}
}

// with is p with one more worker.
func with(p *plan.Plan) (*plan.Plan, *plan.Node) {
	cl := *p.Clusters[0]
	n := &plan.Node{Name: "w1", FQDN: "w1.ocp4.example.com", Cluster: &cl, Role: plan.Worker, MACs: []plan.MAC{{4}}, IP: netip.MustParseAddr("10.0.0.22")}
	cl.Nodes = append(cl.Nodes[:len(cl.Nodes):len(cl.Nodes)], n)
	return &plan.Plan{Clusters: []*plan.Cluster{&cl}, Nodes: cl.Nodes, LB: p.LB}, n
}

func TestNothingIsInstalledInALivingCluster(t *testing.T) {
	g := newRig(t)
	p := g.cluster()
	g.alive = map[*plan.Cluster]bool{p.Clusters[0]: true}
	g.Apply(t.Context(), p)
	g.Acked(g.node.MACs[0], g.node.IP)
	for range 2 {
		if s := g.Answer(p, g.node, g.node.IP); !s.Disk {
			t.Fatalf("script %+v for a node of a living cluster", s)
		}
		g.wait(time.Hour)
		g.restart(t) // not even when the cluster is down at the next start
		g.alive = nil
		g.Apply(t.Context(), p)
	}
	g.tl.Apply(p)
	if s := g.Boot(g.node, g.node.IP); !s.Disk || !g.Peek(g.node).Disk {
		t.Fatalf("script %+v", s)
	}
	if ev := g.events(timeline.BootRefused); len(ev) != 1 || !strings.Contains(ev[0], "helperd nodes reinstall w0") {
		t.Errorf("events %q do not say what to do", ev)
	}
	if h := g.tl.Story(g.node.FQDN).Hint; !strings.Contains(h, "helperd nodes reinstall w0") {
		t.Errorf("hint %q", h)
	}
	if err := g.Admit(g.node, g.node.IP, ""); err == nil || !strings.Contains(err.Error(), "reinstall w0") {
		t.Errorf("its ignition: %v", err)
	}
	later, added := with(p) // while the daemon runs: a new machine
	g.Apply(t.Context(), later)
	if g.Boot(added, added.IP).Disk {
		t.Error("a worker that was added later is not installed")
	}
	g.Reinstall(g.node)
	if g.Boot(g.node, g.node.IP).Disk {
		t.Error("reinstall did not arm it")
	}
}

// A cluster that was made without helperd comes into the file of a daemon that runs.
func TestLivingClusterComesIntoTheFile(t *testing.T) {
	g := newRig(t)
	g.Apply(t.Context(), &plan.Plan{})
	p := g.cluster()
	g.alive = map[*plan.Cluster]bool{p.Clusters[0]: true}
	g.Apply(t.Context(), p)
	if s := g.Boot(g.node, g.node.IP); !s.Disk {
		t.Fatalf("script %+v for a node of a living cluster", s)
	}
	g.Reinstall(g.node)
	g.Apply(t.Context(), &plan.Plan{})
	g.Apply(t.Context(), p) // back again: what is known of its nodes holds
	if s := g.Boot(g.node, g.node.IP); s.Disk {
		t.Error("a person's order is forgotten")
	}
}

// Its system goes past us when another balancer has 22623: its first restart, within
// minutes, is no failure.
func TestAnotherBalancer(t *testing.T) {
	for balances, disk := range map[bool]bool{true: false, false: true} {
		g := newRig(t)
		p := g.cluster()
		p.LB.Enabled = balances
		g.Apply(t.Context(), p)
		g.install(t)
		g.Boot(g.node, g.node.IP)
		g.wait(5 * time.Minute)
		if s, peeked := g.Boot(g.node, g.node.IP), g.State(g.node); s.Disk != disk {
			t.Errorf("our balancer: %v; script %+v, %+v", balances, s, peeked)
		}
	}
}

func TestStateThatIsKeptProtectsNobody(t *testing.T) {
	g := newRig(t)
	p := g.cluster()
	g.Apply(t.Context(), p)
	g.restart(t)
	g.alive = map[*plan.Cluster]bool{p.Clusters[0]: true}
	g.Apply(t.Context(), p)
	if g.Boot(g.node, g.node.IP).Disk {
		t.Error("a new worker of a living cluster is not installed")
	}
}

// The certificates of the bootstrap machine end after a day: the cluster is older, and perhaps just down.
func TestNothingIsInstalledAfterTheCertificatesHaveEnded(t *testing.T) {
	g := newRig(t)
	p := g.cluster()
	text, err := os.ReadFile(filepath.Join("testdata", "bootstrap.ign")) // ends 2026-01-02
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bootstrap.ign")
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(text)
	p.HTTP.Ignition = []plan.Ignition{{File: file, Cluster: "ocp4.example.com", Role: plan.Bootstrap}}
	g.Apply(t.Context(), p)
	if s := g.Boot(g.node, g.node.IP); !s.Disk || !strings.Contains(g.events(timeline.BootRefused)[0], "expired") {
		t.Fatalf("script %+v, events %q", s, g.events(timeline.BootRefused))
	}
	put([]byte(`{"ignition":{"version":"3.2.0"}}`)) // new files are of a new cluster
	g.wait(time.Hour)
	if g.Peek(g.node).Disk || g.Boot(g.node, g.node.IP).Disk {
		t.Error("new ignition files, and still nothing is installed")
	}
}

func TestDeadClusterIsInstalled(t *testing.T) {
	g := newRig(t)
	p := g.cluster()
	g.Apply(t.Context(), p)
	if s := g.Boot(g.node, g.node.IP); s.Disk {
		t.Errorf("script %+v on the first day", s)
	}
}

// Nodes that come up by themselves after a start without state are not installed at their next network boot.
func TestProbe(t *testing.T) {
	kubelet := netip.MustParseAddrPort("10.0.0.21:10250")
	for _, tt := range []struct {
		name    string
		prepare func(*rig, *plan.Plan)
		wait    time.Duration
		want    Phase
	}{
		{"nothing is known", func(g *rig, p *plan.Plan) { g.Apply(t.Context(), p) }, 0, Installed},
		{"long after the start", func(g *rig, p *plan.Plan) { g.Apply(t.Context(), p) }, time.Hour, Armed},
		{"protected", func(g *rig, p *plan.Plan) {
			g.alive = map[*plan.Cluster]bool{p.Clusters[0]: true}
			g.Apply(t.Context(), p)
		}, 0, Installed},
		{"written, and booted past the network", func(g *rig, _ *plan.Plan) { g.install(t) }, 0, Installed},
		{"sent to its disk", func(g *rig, _ *plan.Plan) { g.install(t); g.Boot(g.node, g.node.IP) }, 0, Installed},
		{"installing", func(g *rig, _ *plan.Plan) { g.Boot(g.node, g.node.IP) }, 0, Installing},
		{"installing for long", func(g *rig, _ *plan.Plan) { g.Boot(g.node, g.node.IP) }, failedWithin, Installed},
		{"ordered, and the old system runs", func(g *rig, _ *plan.Plan) { g.Reinstall(g.node) }, 0, Armed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			p := g.cluster()
			tt.prepare(g, p)
			g.wait(tt.wait)
			g.probe(t.Context(), p)
			if s := g.State(g.node); s.Phase == Installed {
				t.Fatalf("installed although nothing answers: %+v", s)
			}
			g.listens = map[netip.AddrPort]bool{kubelet: true}
			g.probe(t.Context(), p)
			if s := g.State(g.node); s.Phase != tt.want {
				t.Errorf("state %+v, want %s", s, tt.want)
			}
		})
	}
}

// What answers on the wire, as the probes see it.
func TestQuestions(t *testing.T) {
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	defer api.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := func(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }
	ctx := t.Context()
	if a := at(api.Listener.Addr()); !readyz(ctx, a) || !speaksTLS(ctx, a) {
		t.Error("an API server that is not ready is none")
	}
	if a := at(plain.Listener.Addr()); readyz(ctx, a) || speaksTLS(ctx, a) {
		t.Error("a server without TLS is an API server")
	}
	if speaksTLS(ctx, at(l.Addr())) {
		t.Error("a silent server speaks TLS")
	}
	mutual := httptest.NewUnstartedServer(http.NotFoundHandler())
	mutual.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	mutual.StartTLS()
	defer mutual.Close()
	if !speaksTLS(ctx, at(mutual.Listener.Addr())) {
		t.Error("a server that wants a certificate does not count")
	}
}

func TestExpiredWithoutABootstrapMachine(t *testing.T) {
	g := newRig(t)
	p := g.cluster()
	text, err := os.ReadFile(filepath.Join("testdata", "bootstrap.ign"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bootstrap.ign"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	p.HTTP.Ignition = []plan.Ignition{{File: filepath.Join(dir, "worker.ign"), Cluster: "ocp4.example.com", Role: plan.Worker}}
	g.Apply(t.Context(), p)
	if s := g.Boot(g.node, g.node.IP); !s.Disk {
		t.Errorf("script %+v: the cluster is older than a day", s)
	}
}

// While clusters are asked people look at the nodes, and boot scripts wait.
func TestClustersAreAskedBesideTheService(t *testing.T) {
	g := newRig(t)
	p := g.cluster()
	answer := make(chan struct{})
	g.lives = func(context.Context, *plan.Cluster) bool { <-answer; return true }
	g.Registry.Apply(t.Context(), p)
	if p := g.State(g.node).Phase; p != Armed {
		t.Errorf("phase %s before an answer", p)
	}
	g.Acked(g.node.MACs[0], g.node.IP)
	script := make(chan Script)
	go func() { script <- g.Answer(p, g.node, g.node.IP) }()
	select {
	case s := <-script:
		t.Errorf("script %+v before it is known whether the cluster lives", s)
	case <-time.After(50 * time.Millisecond):
	}
	g.Registry.Apply(t.Context(), p) // asks nobody twice
	close(answer)
	if s := <-script; !s.Disk {
		t.Errorf("script %+v", s)
	}
	if p := g.State(g.node).Phase; p != Protected {
		t.Errorf("phase %s", p)
	}
}

// A daemon that ends before the answer asks again.
func TestClustersAreAskedToTheEnd(t *testing.T) {
	g := newRig(t)
	p := g.cluster()
	ctx, cancel := context.WithCancel(t.Context())
	g.lives = func(context.Context, *plan.Cluster) bool { cancel(); return false }
	g.Apply(ctx, p)
	g.restart(t)
	g.alive = map[*plan.Cluster]bool{p.Clusters[0]: true}
	g.Apply(t.Context(), p)
	if p := g.State(g.node).Phase; p != Protected {
		t.Errorf("phase %s", p)
	}
}
