package http

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	nethttp "net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"helperd/ca"
	"helperd/internal/freeport"
	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services"
	"helperd/services/servicetest"
	"helperd/timeline"
)

const (
	masterAddr = "127.0.0.11"
	workerAddr = "127.0.0.21"
	poolAddr   = "127.0.0.99" // of the machine networks, and no node
	farAddr    = "127.1.0.1"  // of no network of the file
	kernelPath = "/artifacts/rhcos/kernel"
	rootfsPath = "/artifacts/rhcos/rootfs"
	ignPath    = "/ignition/ocp4.example.com/worker.ign"
	masterIgn  = "/ignition/ocp4.example.com/master.ign"
)

// rig is a running server on a loopback port, for one cluster of a master and a worker.
type rig struct {
	*Service
	host           services.Host
	fuse           *guard.Fuse
	events         *timeline.Timeline
	server         netip.AddrPort
	plan           *plan.Plan
	dir            string
	panics         chan string
	master, worker *plan.Node
	stop           context.CancelFunc // ends Serve

	mu         sync.Mutex
	neighbours map[netip.Addr]plan.MAC // on our network
}

func newRig(t testing.TB, edit func(*rig)) *rig {
	t.Helper()
	dir := t.TempDir()
	g := &rig{dir: dir}
	h := servicetest.NewHost(t, dir)
	g.host, g.fuse, g.events, g.panics = h.Host, h.Fuse, h.Events, h.Panics
	g.host.Nodes.Neighbours = g.neighbour
	g.host.CA, g.host.StateDir = ca.New(dir, time.Now), dir
	g.Service = New(g.host)
	g.server = freeport.On(t, "127.0.0.2")
	g.makePlan(t)
	if edit != nil {
		edit(g)
	}
	g.apply(t, g.plan)
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return g
}

func (g *rig) makePlan(t testing.TB) {
	t.Helper()
	base := "http://" + g.server.String()
	cl := &plan.Cluster{Name: "ocp4", Zone: "ocp4.example.com"}
	node := func(name string, role plan.Role, mac byte, ip string) *plan.Node {
		ign := base + "/ignition/ocp4.example.com/" + string(role) + ".ign"
		return &plan.Node{
			Name: name, FQDN: name + ".ocp4.example.com", Cluster: cl, Role: role, Arch: "x86_64",
			MACs: []plan.MAC{{0x52, 0x54, 0, 0, 0, mac}}, IP: netip.MustParseAddr(ip),
			Boot: &plan.Boot{
				Artifact: "rhcos", Kernel: kernelPath, Initramfs: "/artifacts/rhcos/initramfs", Image: "/artifacts/rhcos/rootfs",
				Args: []string{"coreos.inst.ignition_url=" + ign}, Ignition: ign, BaseURL: base,
			},
		}
	}
	g.master, g.worker = node("m0", plan.Master, 1, masterAddr), node("w0", plan.Worker, 2, workerAddr)
	cl.Nodes = []*plan.Node{g.master, g.worker}
	g.neighbours = map[netip.Addr]plan.MAC{g.master.IP: g.master.MACs[0], g.worker.IP: g.worker.MACs[0]}
	root := filepath.Join(g.dir, "root")
	g.plan = &plan.Plan{
		Helper:   plan.Helper{Name: "helper", Address: netip.MustParseAddr("127.0.0.2")},
		Clusters: []*plan.Cluster{cl}, Nodes: cl.Nodes,
		HTTP: plan.HTTP{
			Enabled: true, Listen: []netip.AddrPort{g.server}, Root: root, Listing: true,
			Machines: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")},
			Files: []plan.File{
				{Path: kernelPath, File: filepath.Join(g.dir, "vmlinuz")},
				{Path: rootfsPath, File: filepath.Join(g.dir, "rootfs.img")},
			},
			Ignition: []plan.Ignition{
				{Path: masterIgn, File: filepath.Join(g.dir, "master.ign"), Cluster: cl.Zone, Role: plan.Master, Nodes: []*plan.Node{g.master}},
				{Path: ignPath, File: filepath.Join(g.dir, "worker.ign"), Cluster: cl.Zone, Role: plan.Worker, Nodes: []*plan.Node{g.worker}},
				{
					Path: "/ignition/ocp4.example.com/w0.ign", File: filepath.Join(g.dir, "worker.ign"), Cluster: cl.Zone, Role: plan.Worker,
					Nodes: []*plan.Node{g.worker}, Node: g.worker,
				},
			},
		},
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	g.put(t, "vmlinuz", 100_000)
	g.put(t, "rootfs.img", 3<<20)
	g.write(t, "master.ign", `{"ignition":{"version":"3.2.0"},"role":"master"}`)
	g.write(t, "worker.ign", `{"ignition":{"version":"3.2.0"},"role":"worker"}`)
}

// neighbour is what the kernel would say of a network with our nodes.
func (g *rig) neighbour(a netip.Addr) ([]plan.MAC, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m, ok := g.neighbours[a]; ok {
		return []plan.MAC{m}, nil
	}
	return nil, nil
}

// has says who has a node's address; the zero MAC: a router is between.
func (g *rig) has(a netip.Addr, m plan.MAC) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.neighbours[a] = m; m == (plan.MAC{}) {
		delete(g.neighbours, a)
	}
}

func (g *rig) apply(t testing.TB, p *plan.Plan) {
	t.Helper()
	c, err := g.Prepare(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	g.events.Apply(p)
	c.Commit()
}

// put writes a file of n bytes that differ everywhere, and gives them.
func (g *rig) put(t testing.TB, name string, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	g.write(t, name, string(b))
	return b
}

// write writes a file below the rig's folder; root/ is what the server shows.
func (g *rig) write(t testing.TB, name, content string) {
	t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// answer is a response with its body read.
type answer struct {
	*nethttp.Response
	body string
}

// from is a client with an address of its own.
func from(addr string) *nethttp.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	return &nethttp.Client{
		Transport:     &nethttp.Transport{DialContext: d.DialContext, DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
}

// do sends a request from an address, with headers as "Name: value".
func (g *rig) do(t testing.TB, method, addr, path string, headers ...string) answer {
	t.Helper()
	r, err := nethttp.NewRequestWithContext(t.Context(), method, "http://"+g.server.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := from(addr).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(body)}
}

// raw sends bytes as they are and reads one answer.
func (g *rig) raw(t testing.TB, addr, request string) answer {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	c, err := d.DialContext(t.Context(), "tcp", g.server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(c, request)
	method, _, _ := strings.Cut(request, " ")
	resp, err := nethttp.ReadResponse(bufio.NewReader(c), &nethttp.Request{Method: method})
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(body)}
}

// seen waits for an event of a kind about a file, and gives the last one.
func (g *rig) seen(t testing.TB, kind timeline.Kind, file string) timeline.Event {
	t.Helper()
	var found timeline.Event
	eventually(t, fmt.Sprintf("event %s of %s", kind, file), func() bool {
		for _, e := range slices.Backward(g.events.Since(0)) {
			if e.Kind == kind && e.File == file {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for range 2000 { // for 20 s: the machine may be busy
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}
