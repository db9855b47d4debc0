package ftp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/internal/freeport"
	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services"
	"helperd/services/servicetest"
	"helperd/timeline"
)

const (
	nodeAddr   = "127.0.0.21"
	otherAddr  = "127.0.0.99" // of the machine networks, and no node
	helperAddr = "127.0.0.2"
	kernelPath = "/artifacts/rhcos/kernel"
	rootfsPath = "/artifacts/rhcos/rootfs"
)

// rig is a running server on a loopback port, for one node.
type rig struct {
	*Service
	host   services.Host
	fuse   *guard.Fuse
	events *timeline.Timeline
	server netip.AddrPort
	plan   *plan.Plan
	node   *plan.Node
	dir    string
	panics chan string
	stop   func() // ends Serve and waits for it
}

func newRig(t testing.TB, edit func(*rig)) *rig {
	t.Helper()
	g := &rig{dir: t.TempDir()}
	h := servicetest.NewHost(t, g.dir)
	g.host, g.fuse, g.events, g.panics = h.Host, h.Fuse, h.Events, h.Panics
	g.Service = New(g.host)
	g.server = freeport.On(t, helperAddr)
	g.makePlan(t)
	if edit != nil {
		edit(g)
	}
	g.apply(t, g.plan)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx) }()
	stopped := false
	g.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(g.stop)
	return g
}

func (g *rig) makePlan(t testing.TB) {
	t.Helper()
	cl := &plan.Cluster{Name: "ocp4", Zone: "ocp4.example.com"}
	g.node = &plan.Node{
		Name: "w0", FQDN: "w0.ocp4.example.com", Cluster: cl, Role: plan.Worker, Arch: "x86_64",
		MACs: []plan.MAC{{0x52, 0x54, 0, 0, 0, 2}}, IP: netip.MustParseAddr(nodeAddr),
		Boot: &plan.Boot{
			Artifact: "rhcos", Kernel: kernelPath, Initramfs: "/artifacts/rhcos/initramfs", Image: rootfsPath, BaseURL: "http://127.0.0.2:8080",
			Args: []string{"coreos.inst.ignition_url=http://127.0.0.2:8080/i.ign"}, Ignition: "http://127.0.0.2:8080/i.ign",
		},
	}
	cl.Nodes = []*plan.Node{g.node}
	first := uint16(20000 + rand.IntN(10000))
	g.plan = &plan.Plan{
		Helper:   plan.Helper{Name: "helper", Address: netip.MustParseAddr(helperAddr)},
		Clusters: []*plan.Cluster{cl}, Nodes: cl.Nodes,
		FTP: plan.FTP{
			Enabled: true, Listen: []netip.AddrPort{g.server}, Root: filepath.Join(g.dir, "root"), Listing: true,
			PassivePorts: plan.PortRange{First: first, Last: first + 9}, Machines: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")},
			Files: []plan.File{
				{Path: kernelPath, File: filepath.Join(g.dir, "vmlinuz")},
				{Path: rootfsPath, File: filepath.Join(g.dir, "rootfs.img")},
			},
		},
	}
	g.write(t, "root/hello.txt", "hello\n")
	g.put(t, "vmlinuz", 100_000)
	g.put(t, "rootfs.img", 3<<20)
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
func (g *rig) put(t testing.TB, name string, n int) string {
	t.Helper()
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	g.write(t, name, string(b))
	return string(b)
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

// happened waits for an event.
func (g *rig) happened(t testing.TB, match func(*timeline.Event) bool) timeline.Event {
	t.Helper()
	var seen []timeline.Event
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		seen = g.events.Since(0)
		for _, e := range seen {
			if match(&e) {
				return e
			}
		}
	}
	t.Fatalf("no such event: %+v", seen)
	return timeline.Event{}
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// client speaks FTP as it is written, with nothing between.
type client struct {
	*net.TCPConn
	in *bufio.Reader
}

// dial connects from an address.
func (g *rig) dial(t testing.TB, from string) *client {
	t.Helper()
	c, err := net.DialTCP("tcp4", &net.TCPAddr{IP: net.ParseIP(from)}, net.TCPAddrFromAddrPort(g.server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newClient(c)
}

func newClient(c *net.TCPConn) *client {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{c, bufio.NewReader(c)}
}

// login is dial and an anonymous login.
func (g *rig) login(t testing.TB, from string) *client {
	t.Helper()
	c := g.dial(t, from)
	if got := c.reply(t); !strings.HasPrefix(got, "220 ") {
		t.Fatalf("greeting %q", got)
	}
	c.want(t, "331", "USER anonymous")
	c.want(t, "230", "PASS a@b")
	return c
}

// reply reads one answer; its lines are joined.
func (c *client) reply(t testing.TB) string {
	t.Helper()
	answer, err := c.tryReply()
	if err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	return answer
}

func (c *client) tryReply() (string, error) {
	answer := ""
	for {
		line, err := c.in.ReadString('\n')
		answer += line
		if err != nil {
			return answer, err
		}
		if len(line) > 3 && line[3] == ' ' && line[0] >= '1' && line[0] <= '5' {
			return answer, nil
		}
	}
}

// do sends a command and gives the answer.
func (c *client) do(t testing.TB, command string) string {
	t.Helper()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		t.Fatal(err)
	}
	return c.reply(t)
}

func (c *client) want(t testing.TB, code, command string) string {
	t.Helper()
	got := c.do(t, command)
	if !strings.HasPrefix(got, code) {
		t.Errorf("%s: %q, want %s", command, got, code)
	}
	return got
}

// passive gives the address of a data connection.
func (c *client) passive(t testing.TB) *net.TCPAddr {
	t.Helper()
	got := c.want(t, "227", "PASV")
	_, list, _ := strings.Cut(got, "(")
	var n [6]byte
	if _, err := fmt.Sscanf(list, "%d,%d,%d,%d,%d,%d)", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]); err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	return &net.TCPAddr{IP: n[:4], Port: int(n[4])<<8 | int(n[5])}
}

// data opens a data connection from the client's address.
func (c *client) data(t testing.TB) *net.TCPConn {
	t.Helper()
	from := c.LocalAddr().(*net.TCPAddr).IP
	d, err := net.DialTCP("tcp4", &net.TCPAddr{IP: from}, c.passive(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	d.SetDeadline(time.Now().Add(20 * time.Second))
	return d
}

// fetch does a command that sends by a data connection, and gives what came and the last answer.
func (c *client) fetch(t testing.TB, command string) (body, answer string) {
	t.Helper()
	d := c.data(t)
	if answer = c.do(t, command); !strings.HasPrefix(answer, "150") {
		return "", answer
	}
	b, err := io.ReadAll(d)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("%s: %v", command, err)
	}
	return string(b), c.reply(t)
}
