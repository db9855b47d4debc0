package tftp

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/services/tftp/packet"
)

// Transfers open their sockets in goroutines, which do not follow a thread into
// a namespace: the server runs in a process of its own there.
const (
	serveEnv = "HELPERD_TFTP_TEST_LISTEN"
	rootEnv  = "HELPERD_TFTP_TEST_ROOT"
	mtuEnv   = "HELPERD_TFTP_TEST_MTU"
	nodeEnv  = "HELPERD_TFTP_TEST_NODE"
)

// TestServeForNamespace is that process, until its input ends. It does nothing by itself.
func TestServeForNamespace(t *testing.T) {
	listen := os.Getenv(serveEnv)
	if listen == "" {
		return
	}
	newRig(t, func(p *plan.Plan) {
		p.TFTP.Listen = nil
		for addr := range strings.SplitSeq(listen, ",") {
			p.TFTP.Listen = append(p.TFTP.Listen, netip.MustParseAddrPort(addr))
		}
		p.TFTP.Root = os.Getenv(rootEnv)
		p.TFTP.MTU, _ = strconv.Atoi(os.Getenv(mtuEnv))
		if node := os.Getenv(nodeEnv); node != "" {
			p.Nodes = []*plan.Node{{Name: "worker-0", FQDN: "worker-0.ocp4.example.com", IP: netip.MustParseAddr(node)}}
		}
	})
	os.Stdout.WriteString("serving\n")
	io.Copy(io.Discard, os.Stdin)
}

// serveIn runs a server in ns, with settings as the environment has them, until
// the test ends, and gives its process id.
func serveIn(t *testing.T, ns *netns.NS, env ...string) int {
	t.Helper()
	cmd := ns.Exec(os.Args[0], "-test.run=^TestServeForNamespace$")
	cmd.Env = append(os.Environ(), env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		rest, _ := io.ReadAll(stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("server: %v\n%s", err, rest)
		}
	})
	ready := make([]byte, len("serving\n"))
	if _, err := io.ReadFull(stdout, ready); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// A block is never larger than what arrives in one piece: by the interface, the
// route, and what the file declares for networks behind routers.
func TestBlockSizeFitsThePath(t *testing.T) {
	netns.Require(t)
	for _, tt := range []struct {
		link, declared int
		route          string // MTU of the route to the client
		v4, v6         string
	}{
		{link: 1500, v4: "1468", v6: "1448"},
		{link: 1400, v4: "1368", v6: "1348"},
		{link: 9000, v4: "1468", v6: "1448"}, // Ethernet's, while nothing is declared
		{link: 9000, declared: 9000, v4: "8968", v6: "8948"},
		{link: 1500, declared: 9000, v4: "1468", v6: "1448"},
		{link: 9000, declared: 1400, v4: "1368", v6: "1348"},
		{link: 1500, route: "1300", v4: "1268", v6: "1248"},
	} {
		t.Run(fmt.Sprintf("link %d, declared %d, route %s", tt.link, tt.declared, tt.route), func(t *testing.T) {
			server, client := netns.New(t), netns.New(t)
			devS, devC := netns.Link(t, server, client, "192.0.2.1/24", "192.0.2.2/24")
			server.IP(t, "address", "add", "2001:db8::1/64", "dev", devS)
			client.IP(t, "address", "add", "2001:db8::2/64", "dev", devC)
			server.IP(t, "link", "set", devS, "mtu", strconv.Itoa(tt.link))
			client.IP(t, "link", "set", devC, "mtu", strconv.Itoa(tt.link))
			if tt.route != "" {
				server.IP(t, "route", "add", "192.0.2.2/32", "dev", devS, "mtu", tt.route)
				server.IP(t, "-6", "route", "add", "2001:db8::2/128", "dev", devS, "mtu", tt.route)
			}
			dir := t.TempDir()
			want := bytes.Repeat([]byte("0123456789abcdef\n"), 20_000)
			if err := os.WriteFile(filepath.Join(dir, "f"), want, 0o644); err != nil {
				t.Fatal(err)
			}
			serveIn(t, server, serveEnv+"=192.0.2.1:69,[2001:db8::1]:69", rootEnv+"="+dir, mtuEnv+"="+strconv.Itoa(tt.declared))
			for _, family := range []struct{ server, client, want string }{
				{"192.0.2.1:69", "192.0.2.2", tt.v4}, {"[2001:db8::1]:69", "2001:db8::2", tt.v6},
			} {
				var w *wire
				client.Do(t, func() {
					g := &rig{server: netip.MustParseAddrPort(family.server)}
					w = g.dialFrom(t, family.client)
				})
				w.ask(packet.OpRead, "f", "octet", "blksize", "65464", "windowsize", "64")
				granted := w.oack()
				if granted[1] != family.want {
					t.Errorf("%s: OACK %q, want blksize %s", family.server, granted, family.want)
				}
				block, _ := strconv.Atoi(granted[1])
				window, _ := strconv.Atoi(granted[3])
				if block*window > packet.MaxFlight {
					t.Errorf("%s: OACK %q, want at most %d bytes in a window", family.server, granted, packet.MaxFlight)
				}
				w.ack(0)
				if got := w.fetch(block, window, nil); !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes", family.server, len(got))
				}
			}
			noFragments(t, server)
		})
	}
}

func noFragments(t *testing.T, ns *netns.NS) {
	t.Helper()
	lines := strings.Split(ns.Run(t, "cat", "/proc/net/snmp"), "\n")
	names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	for i, name := range names {
		if name == "FragCreates" && values[i] != "0" {
			t.Errorf("%s fragments were sent", values[i])
		}
	}
	for line := range strings.Lines(ns.Run(t, "cat", "/proc/net/snmp6")) {
		if f := strings.Fields(line); f[0] == "Ip6FragCreates" && f[1] != "0" {
			t.Errorf("%s fragments were sent by IPv6", f[1])
		}
	}
}

// Real clients on a link whose MTU is below Ethernet's: blocks are clamped, and nothing is fragmented.
func TestSmallMTU(t *testing.T) {
	netns.Tools(t, "curl", "tftp")
	server, client := netns.New(t), netns.New(t)
	devS, devC := netns.Link(t, server, client, "192.0.2.1/24", "192.0.2.2/24")
	server.IP(t, "link", "set", devS, "mtu", "1400")
	client.IP(t, "link", "set", devC, "mtu", "1400")
	dir := t.TempDir()
	want := bytes.Repeat([]byte("0123456789abcdef\n"), 400_000) // above what is cached
	if err := os.WriteFile(filepath.Join(dir, "f"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	serveIn(t, server, serveEnv+"=192.0.2.1:69", rootEnv+"="+dir)
	out := filepath.Join(dir, "out")
	check := func(name string) {
		t.Helper()
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		os.Remove(out)
	}
	client.Run(t, "curl", "-sS", "-m", "20", "--tftp-blksize", "1468", "-o", out, "tftp://192.0.2.1//f")
	check("curl")
	client.Run(t, "tftp", "192.0.2.1", "-m", "binary", "-c", "get", "f", out)
	check("tftp")

	var w *wire
	client.Do(t, func() {
		g := &rig{server: netip.MustParseAddrPort("192.0.2.1:69")}
		w = g.dialFrom(t, "192.0.2.2")
	})
	w.ask(packet.OpRead, "f", "octet", "blksize", "1468", "windowsize", "16")
	if got := w.oack(); got[1] != "1368" {
		t.Errorf("OACK %q, want blksize 1368", got)
	}
	w.ack(0)
	if got := w.fetch(1368, 16, nil); !bytes.Equal(got, want) {
		t.Errorf("by windows: %d bytes", len(got))
	}
	noFragments(t, server)
	// A client that vanished with its link gives up its transfer's port, and the server goes on.
	w.ask(packet.OpRead, "f", "octet")
	w.data(1)
	client.IP(t, "link", "set", devC, "down")
	time.Sleep(50 * time.Millisecond)
	client.IP(t, "link", "set", devC, "up")
	for number := byte(1); number != 2; {
		w.ack(1)
		p := w.next(soon)
		if len(p) < 4 || p[1] != packet.OpData || p[3] > 2 {
			t.Fatalf("got %.40q, want DATA 2, or DATA 1 once more", p)
		}
		number = p[3]
	}
}
