package tftp

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/plan"
)

// Transfers open their sockets in goroutines, which do not follow a thread into
// a namespace: the server runs in a process of its own there.
const (
	serveEnv = "HELPERD_TFTP_TEST_LISTEN"
	rootEnv  = "HELPERD_TFTP_TEST_ROOT"
)

// TestServeForNamespace is that process, until its input ends. It does nothing by itself.
func TestServeForNamespace(t *testing.T) {
	listen := os.Getenv(serveEnv)
	if listen == "" {
		return
	}
	newRig(t, func(p *plan.Plan) {
		p.TFTP.Listen = []netip.AddrPort{netip.MustParseAddrPort(listen)}
		p.TFTP.Root = os.Getenv(rootEnv)
	})
	os.Stdout.WriteString("serving\n")
	io.Copy(io.Discard, os.Stdin)
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
	cmd := server.Exec(os.Args[0], "-test.run=^TestServeForNamespace$")
	cmd.Env = append(os.Environ(), serveEnv+"=192.0.2.1:69", rootEnv+"="+dir)
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
	defer func() {
		stdin.Close()
		rest, _ := io.ReadAll(stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("server: %v\n%s", err, rest)
		}
	}()
	ready := make([]byte, len("serving\n"))
	if _, err := io.ReadFull(stdout, ready); err != nil {
		t.Fatal(err)
	}
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
	w.ask(opRead, "f", "octet", "blksize", "1468", "windowsize", "16")
	if got := w.oack(); got[1] != "1368" {
		t.Errorf("OACK %q, want blksize 1368", got)
	}
	w.ack(0)
	if got := w.fetch(1368, 16, nil); !bytes.Equal(got, want) {
		t.Errorf("by windows: %d bytes", len(got))
	}
	snmp := server.Run(t, "cat", "/proc/net/snmp")
	lines := strings.Split(snmp, "\n")
	names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	for i, name := range names {
		if name == "FragCreates" && values[i] != "0" {
			t.Errorf("%s fragments were sent", values[i])
		}
	}
	// A client that vanished with its link gives up its transfer's port, and the server goes on.
	w.ask(opRead, "f", "octet")
	w.data(1)
	client.IP(t, "link", "set", devC, "down")
	time.Sleep(50 * time.Millisecond)
	client.IP(t, "link", "set", devC, "up")
	w.ack(1)
	w.data(2)
}
