package dhcp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"helperd/internal/guard"
	"helperd/internal/netns"
	"helperd/internal/socket"
	"helperd/nodes"
	"helperd/plan"
	"helperd/services"
	"helperd/state"
	"helperd/timeline"
)

// The server under test runs in a process of its own, inside a network
// namespace: this test binary again, with a folder in the environment.
const processEnv = "HELPERD_DHCP_TEST_STATE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(processEnv); dir != "" {
		if err := serveProcess(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func testHost(t interface{ Fatal(...any) }, dir string) services.Host {
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	group := guard.New(func(name string, value any, stack []byte) { log.Error("panic", "goroutine", name, "err", value) })
	events := timeline.New(time.Now)
	registry, err := nodes.New(store, events, log, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return services.Host{
		Log: log, Guard: group, Fuse: &guard.Fuse{}, Sockets: socket.NewTable(group, log), Events: events, Nodes: registry,
		Store: store, Leases: store, Metrics: prometheus.NewRegistry(),
	}
}

type fatal struct{}

func (fatal) Fatal(a ...any) { panic(fmt.Sprint(a...)) }

// serveProcess serves the plan of the first line of input and obeys the lines that follow.
func serveProcess(dir string) error {
	h := testHost(fatal{}, dir)
	s := New(h)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := h.Guard.Loop(ctx, "serve", s.Serve)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "plan":
			p, err := scenario(arg)
			if err != nil {
				return err
			}
			c, err := s.Prepare(ctx, p)
			if err != nil {
				return err
			}
			c.Commit()
			fmt.Println("ok")
		case "check":
			fmt.Println(s.Check(ctx))
		case "status":
			_ = json.NewEncoder(os.Stdout).Encode(s.Status())
		case "leases":
			_ = json.NewEncoder(os.Stdout).Encode(s.Leases())
		case "events":
			_ = json.NewEncoder(os.Stdout).Encode(h.Events.Since(0))
		case "metrics":
			all, err := h.Metrics.(prometheus.Gatherer).Gather()
			if err != nil {
				return err
			}
			for _, m := range all {
				if v := m.GetMetric()[0]; v.GetGauge() != nil {
					fmt.Printf("%s=%v ", m.GetName(), v.GetGauge().GetValue())
				}
			}
			fmt.Println()
		case "held":
			fds, _ := os.ReadDir("/proc/self/fd")
			fmt.Println(len(fds), runtime.NumGoroutine())
		case "memory":
			fmt.Println(memory())
		case "fuse":
			h.Fuse.Arm()
			fmt.Println("ok")
		}
	}
	cancel()
	<-ended
	h.Guard.Wait()
	h.Sockets.Close()
	return h.Store.Close()
}

// memory gives the largest resident and the present heap size of this process in KiB.
func memory() (resident, heap int) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, _ = fmt.Sscan(rest, &resident)
	return resident, int(m.HeapAlloc >> 10)
}

var (
	nodeMAC   = plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x67}
	secondMAC = plan.MAC{0x52, 0x54, 0, 0x33, 0, 2}
	edgeMAC   = plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}
)

// scenario gives a plan by its name.
func scenario(name string) (*plan.Plan, error) {
	ip := netip.MustParseAddr
	lan := plan.Subnet{
		Prefix: netip.MustParsePrefix("192.168.67.0/24"), Mode: plan.ModeServer, Server: ip("192.168.67.2"),
		Pool: plan.Range{First: ip("192.168.67.100"), Last: ip("192.168.67.199")}, PoolLease: time.Hour, ReservationLease: 168 * time.Hour,
		Router: ip("192.168.67.1"), DNS: []netip.Addr{ip("192.168.67.2")}, Domain: "example.com", Search: []string{"example.com"},
	}
	edge := plan.Subnet{
		Prefix: netip.MustParsePrefix("10.30.8.0/26"), Mode: plan.ModeServer, Server: ip("192.168.67.2"), IgnoreUnknown: true,
		PoolLease: time.Hour, ReservationLease: time.Hour, Router: ip("10.30.8.1"),
	}
	big := plan.Subnet{
		Prefix: netip.MustParsePrefix("10.67.0.0/16"), Mode: plan.ModeServer, Server: ip("192.168.67.2"),
		Pool: plan.Range{First: ip("10.67.1.0"), Last: ip("10.67.250.255")}, PoolLease: time.Hour, ReservationLease: time.Hour,
	}
	d := plan.DHCP{Enabled: true, Subnets: []plan.Subnet{lan, edge, big}, Reservations: []plan.Reservation{
		{
			MAC: nodeMAC, Address: ip("192.168.67.10"), Node: "bootstrap.ocp4.example.com", Hostname: "bootstrap.ocp4.example.com", Domain: "ocp4.example.com",
			Boot: &plan.BootFiles{Script: "http://192.168.67.2:8080/ipxe", TFTP: map[uint16]string{plan.ArchEFI64: "snponly.efi"}},
		},
		{MAC: edgeMAC, Address: ip("10.30.8.10"), Hostname: "sno.edge.example.com"},
	}}
	switch name {
	case "lan":
	case "more": // a node more
		d.Reservations = append(d.Reservations, plan.Reservation{MAC: plan.MAC{0x52, 0x54, 0, 0, 0, 9}, Address: ip("192.168.67.20"), Hostname: "worker-9.example.com"})
	case "flood": // a hundred machines, and a pool for all others
		d.Subnets = d.Subnets[:1]
		d.Subnets[0].Pool = plan.Range{First: ip("192.168.67.200"), Last: ip("192.168.67.250")}
		for i := range floodNodes {
			mac, addr := floodNode(i)
			d.Reservations = append(d.Reservations, plan.Reservation{MAC: mac, Address: addr, Node: "worker.example.com", Hostname: "worker.example.com"})
		}
	case "two": // a machine in the second network too
		d.Reservations = append(d.Reservations, plan.Reservation{MAC: secondMAC, Address: ip("10.67.0.10"), Hostname: "worker-1.example.com"})
	case "relays":
		d.Subnets = d.Subnets[1:]
	case "named":
		d.Subnets[0].Interface = "eth0"
	case "proxy", "mode off":
		d.Subnets = d.Subnets[:1]
		d.Subnets[0].Mode = plan.Mode(strings.TrimPrefix(name, "mode "))
	case "off":
		d.Enabled = false
	default:
		return nil, fmt.Errorf("no scenario %q", name)
	}
	return &plan.Plan{DHCP: d}, nil
}

// process is a server in a namespace.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startProcess(t *testing.T, ns *netns.NS, dir, plan string, wrapper ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrapper, self)
	p := &process{t: t, cmd: ns.Exec(args[0], args[1:]...)}
	p.cmd.Env = append(os.Environ(), processEnv+"="+dir)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if got := p.do("plan " + plan); got != "ok" {
		t.Fatalf("plan: %s", got)
	}
	p.until("check", func(s string) bool { return s == "<nil>" })
	return p
}

// do sends a line and gives the answer.
func (p *process) do(line string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	got, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(got)
}

// until repeats a question until the answer is as wanted.
func (p *process) until(line string, want func(string) bool) string {
	p.t.Helper()
	got := ""
	for range 1000 {
		if got = p.do(line); want(got) {
			return got
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("%s: still %s", line, got)
	return ""
}

func contains(s string) func(string) bool {
	return func(got string) bool { return strings.Contains(got, s) }
}

// stop ends the server in good order.
func (p *process) stop() {
	p.t.Helper()
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("server ended with %v", err)
	}
}

// signal sends a signal to the server itself.
func (p *process) signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// kill ends it at once, as a power cut does.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}
