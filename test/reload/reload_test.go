package reload

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"helperd/internal/netns"
	"helperd/test/rig"
)

const (
	artifacts = "/artifacts/rhcos/"
	bigFile   = 1 << 30
)

// stage is a helper with a cluster that serves, and a machine that makes the load.
type stage struct {
	*rig.Rig
	client *rig.Machine
}

func newStage(t *testing.T) *stage {
	t.Helper()
	netns.Require(t)
	netns.Tools(t, "tftp", "curl")
	s := &stage{Rig: rig.New(t, rig.Options{})}
	if err := os.Truncate(s.Artifact("rhcos-live-rootfs.x86_64.img"), bigFile); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"master-0", "master-1", "master-2", "worker-0", "worker-1"} {
		s.Machine(t, name).Serve(t)
	}
	s.client = s.Neighbour(t, "52:54:00:99:00:01", "192.168.67.50")
	s.Start(t)
	s.await(t, "the ingress", 30*time.Second, func() bool { return getOnce(s.client) == nil })
	return s
}

func (s *stage) await(t *testing.T, what string, patience time.Duration, ok func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !ok() {
		if time.Since(begun) > patience {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begun)
}

// begin puts all services under load. The result stops it and reports.
func (s *stage) begin(t *testing.T) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	initramfs := s.Artifact("rhcos-live-initramfs.x86_64.img")
	begun := time.Now()
	loads := []*load{
		dnsLoad(ctx, s.client, 5000),
		connLoad(ctx, s.client, 200),
		tftpLoad(ctx, s.client, 8, strings.TrimPrefix(artifacts, "/")+"initramfs", rig.SHA256(t, initramfs)),
		curlLoad(ctx, s.client, "http://"+rig.HelperIP+":8080"+artifacts+"rootfs", bigFile),
	}
	return func() {
		time.Sleep(time.Second) // the last reload under load, too
		rate := func(a int64) int64 { return a * int64(time.Since(begun).Seconds()) }
		s.await(t, "a whole download", 2*time.Minute, func() bool { return loads[3].done.Load()+int64(loads[3].lost) > 0 })
		atLeast := []int64{rate(2500), rate(100), 8, 1}
		cancel()
		time.Sleep(4 * time.Second) // what is under way ends
		for i, l := range loads {
			l.report(t, atLeast[i])
		}
		t.Logf("datagrams that the helper's sockets dropped: %s", s.dropped(t))
	}
}

// dropped is the kernel's count of datagrams that found a full receive buffer (RcvbufErrors of /proc/net/snmp).
func (s *stage) dropped(t *testing.T) string {
	t.Helper()
	var udp [][]string
	for line := range strings.Lines(s.Helper.Run(t, "cat", "/proc/net/snmp")) {
		if strings.HasPrefix(line, "Udp:") {
			udp = append(udp, strings.Fields(line))
		}
	}
	return udp[1][slices.Index(udp[0], "RcvbufErrors")]
}

// worker is the n-th worker that a test adds. The example has worker-0 and worker-1.
func worker(n int) (name, mac, ip, line string) {
	name, mac, ip = fmt.Sprintf("worker-%d", n+2), fmt.Sprintf("52:54:00:aa:%02x:%02x", n>>8, n&255), fmt.Sprintf("192.168.67.%d", 30+n%60)
	return name, mac, ip, fmt.Sprintf("      - {name: %s, role: worker, mac: %q, ip: %s}\n", name, mac, ip)
}

// insert puts a line after the node worker-1.
func insert(line string) func(string) string {
	return func(text string) string {
		at := strings.Index(text, "{name: worker-1,")
		at += strings.IndexByte(text[at:], '\n') + 1
		return text[:at] + line + text[at:]
	}
}

// knows reports which services know the node.
func (s *stage) knows(t *testing.T, name, mac, ip string) (missing []string) {
	fqdn := name + "." + rig.Zone
	var answer *dns.Msg
	_ = s.client.Call(func() error {
		c, err := net.Dial("udp", rig.HelperIP+":53")
		if err != nil {
			return err
		}
		conn := &dns.Conn{Conn: c}
		defer conn.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion(fqdn+".", dns.TypeA)); err != nil {
			return err
		}
		answer, err = conn.ReadMsg()
		return err
	})
	if answer == nil || len(answer.Answer) != 1 || answer.Answer[0].(*dns.A).A.String() != ip {
		missing = append(missing, "dns")
	}
	script := "boot/" + strings.ReplaceAll(mac, ":", "-") + ".ipxe"
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = s.client.Call(func() (err error) { c, err = (&net.Dialer{}).DialContext(ctx, network, addr); return err })
		return c, err
	}}}
	if resp, err := client.Get("http://" + rig.HelperIP + ":8080/" + script); err != nil || resp.StatusCode != http.StatusOK {
		missing = append(missing, "http")
	} else {
		_ = resp.Body.Close()
	}
	pxelinux := "pxelinux.cfg/01-" + strings.ReplaceAll(mac, ":", "-")
	out := t.TempDir() + "/cfg"
	_ = s.client.Exec("tftp", "-m", "binary", rig.HelperIP, "-c", "get", pxelinux, out).Run()
	if b, err := os.ReadFile(out); err != nil || !strings.Contains(string(b), "rhcos") {
		missing = append(missing, "tftp")
	}
	if err := run(s.client, "curl", "-sS", "-m", "2", "-o", "/dev/null", "ftp://"+rig.HelperIP+"/"+script); err != nil {
		missing = append(missing, "ftp")
	}
	reserved := false
	for _, l := range s.Leases(t) {
		reserved = reserved || l.Node == fqdn
	}
	if !reserved {
		missing = append(missing, "dhcp")
	}
	if !strings.Contains(s.Balancer(t), fqdn) {
		missing = append(missing, "lb")
	}
	return missing
}

// Adding a worker under load: nothing is lost, and all services know the node within a second.
func TestAddingAWorkerLosesNothing(t *testing.T) {
	s := newStage(t)
	end := s.begin(t)
	time.Sleep(2 * time.Second)
	name, mac, ip, line := worker(7)
	begun := time.Now()
	s.Rewrite(t, insert(line))
	var missing []string
	for {
		missing = s.knows(t, name, mac, ip)
		if len(missing) == 0 || time.Since(begun) > 10*time.Second {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("all services know %s %s after the change", name, time.Since(begun).Round(time.Millisecond))
	if len(missing) > 0 {
		t.Errorf("%v do not know %s 10 s after the change", missing, name)
	}
	end()
}

// Reloads in a row: HELPERD_RELOADS of them, 10 unless set.
func TestManyReloadsLoseNothing(t *testing.T) {
	reloads := 10
	if v, err := strconv.Atoi(os.Getenv("HELPERD_RELOADS")); err == nil {
		reloads = v
	}
	s := newStage(t)
	end := s.begin(t)
	first := s.Status(t).Generation
	var slowest time.Duration
	for i := range reloads {
		_, _, _, line := worker(i)
		if i%2 == 0 {
			s.Rewrite(t, insert(line))
		} else {
			_, _, _, before := worker(i - 1)
			s.Rewrite(t, func(text string) string { return strings.Replace(text, before, "", 1) })
		}
		took := s.await(t, fmt.Sprintf("reload %d", i+1), 10*time.Second, func() bool { return s.Status(t).Generation == first+uint64(i)+1 })
		slowest = max(slowest, took)
	}
	t.Logf("%d reloads, the slowest was applied after %s", reloads, slowest.Round(time.Millisecond))
	end()
}

// A panic in the handler of one service: the others lose nothing, and it is back within a second.
func TestPanicStaysInItsService(t *testing.T) {
	t.Setenv("HELPERD_TEST_HOOKS", "1")
	s := newStage(t)
	probes := map[string]func() error{
		"dns": func() error { return run(s.client, "dig", "+tries=1", "+time=1", "@"+rig.HelperIP, "api."+rig.Zone) },
		"http": func() error {
			return run(s.client, "curl", "-sS", "--fail", "-m", "1", "-o", "/dev/null", "http://"+rig.HelperIP+":8080"+artifacts+"kernel")
		},
		"tftp": func() error {
			return run(s.client, "tftp", "-m", "binary", rig.HelperIP, "-c", "get", "artifacts/rhcos/kernel", "/dev/null")
		},
		"ftp": func() error {
			return run(s.client, "curl", "-sS", "-m", "1", "-o", "/dev/null", "ftp://"+rig.HelperIP+artifacts+"kernel")
		},
		"lb": func() error { return getOnce(s.client) },
	}
	for name, probe := range probes {
		t.Run(name, func(t *testing.T) {
			s.Panic(t, name)
			_ = probe() // the one that meets the panic may be lost
			begun := time.Now()
			for probe() != nil {
				if time.Since(begun) > 5*time.Second {
					t.Fatalf("%s does not answer 5 s after its panic", name)
				}
			}
			if d := time.Since(begun); d > 1500*time.Millisecond { // the probe itself may wait a second
				t.Errorf("%s was back after %s", name, d)
			}
			for other, probe := range probes {
				if err := probe(); err != nil {
					t.Errorf("%s lost an answer by the panic of %s: %v", other, name, err)
				}
			}
			for _, svc := range s.Status(t).Services {
				if want := uint64(0); svc.Name == name && svc.Panics == want {
					t.Errorf("%s counts no panic: the hook was not met", name)
				}
			}
		})
	}
	t.Run("dhcp", func(t *testing.T) {
		s.Panic(t, "dhcp")
		m := s.Blank(t, "bootstrap")
		out, err := m.Exec("udhcpc", "-i", rig.Dev, "-n", "-q", "-f", "-t", "4", "-T", "1", "-s", "/bin/true").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "192.168.67.10") {
			t.Errorf("udhcpc over a panic: %v\n%s", err, out)
		}
		for other, probe := range probes {
			if err := probe(); err != nil {
				t.Errorf("%s lost an answer by the panic of dhcp: %v", other, err)
			}
		}
	})
}

func run(m *rig.Machine, name string, args ...string) error {
	out, err := m.Exec(name, args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "no servers could be reached") || strings.Contains(string(out), "Error") {
		return fmt.Errorf("%s: %v: %s", name, err, out)
	}
	return nil
}
