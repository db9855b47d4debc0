package dhcp

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/state"
)

// disk makes the synchronisations of p end as strace's inject says, until the function it gives is called.
func (p *process) disk(as string) (repair func()) {
	p.t.Helper()
	netns.Tools(p.t, "strace")
	pid := strconv.Itoa(p.cmd.Process.Pid)
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:"+as, "-p", pid)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	repair = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	p.t.Cleanup(repair)
	for range 500 {
		all, _ := filepath.Glob("/proc/" + pid + "/task/*/status")
		traced := 0
		for _, name := range all {
			if b, _ := os.ReadFile(name); !strings.Contains(string(b), "TracerPid:\t0\n") {
				traced++
			}
		}
		if traced == len(all) {
			return repair
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatal("strace does not attach")
	return nil
}

// While the disk takes its time, offers go out and machines of the plan get
// their address; only the ACK of the pool waits.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	srv, r := newRelay(t, "10.67.0.1")
	p := startProcess(t, srv, t.TempDir(), "lan")
	p.disk("delay_enter=1000000")
	r.send(macOf(0), dhcpv4.MessageTypeDiscover)
	offer := r.receive(5 * time.Second)
	if offer == nil {
		t.Fatal("no offer")
	}
	r.send(macOf(0), dhcpv4.MessageTypeRequest, selecting(offer)...)
	edge := dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte("\x05\x04\x0a\x1e\x08\x00"))
	r.send(edgeMAC, dhcpv4.MessageTypeRequest, edge, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress([]byte{10, 30, 8, 10})))
	const others = 300
	for i := range others {
		r.send(macOf(1+i), dhcpv4.MessageTypeDiscover)
	}
	for i := range others + 1 {
		d := r.receive(time.Second)
		if d == nil {
			t.Fatalf("the reader stands still: %d of %d answers", i, others+1)
		}
		if plan.MAC(d.ClientHWAddr) == macOf(0) {
			t.Fatal("the ACK of the pool did not wait for the disk")
		}
	}
	if d := r.receive(10 * time.Second); d == nil || plan.MAC(d.ClientHWAddr) != macOf(0) || d.MessageType() != dhcpv4.MessageTypeAck {
		t.Errorf("after the disk was done: %v", d)
	}
}

// While the disk fails nobody is told of a lease, and one event says why; when
// it is back so are the leases.
func TestDiskFailsAndComesBack(t *testing.T) {
	srv, r := newRelay(t, "10.67.0.1")
	p := startProcess(t, srv, t.TempDir(), "lan")
	repair := p.disk("error=EIO")
	const clients = 20
	r.refused(clients)
	p.until("status", contains("pool leases cannot be stored"))
	if got := p.do("events"); strings.Count(got, "pool leases cannot be stored") != 1 {
		t.Errorf("want one event of the disk: %s", got)
	}
	repair()
	given := map[netip.Addr]plan.MAC{}
	lost := r.storm(0, clients, 4, never, func(mac plan.MAC, addr netip.Addr) { given[addr] = mac })
	if lost != 0 || len(given) != clients {
		t.Errorf("%d clients have no address, %d addresses were given", lost, len(given))
	}
	if got := p.do("status"); !strings.Contains(got, `"state":"up"`) {
		t.Errorf("status %s", got)
	}
}

// refused asks for an address for each of count clients and sees to it that none is acknowledged.
func (r *relay) refused(count int) {
	r.t.Helper()
	for i := range count {
		r.send(macOf(i), dhcpv4.MessageTypeDiscover)
		offer := r.receive(5 * time.Second)
		if offer == nil {
			r.t.Fatalf("client %d has no offer", i)
		}
		r.send(macOf(i), dhcpv4.MessageTypeRequest, selecting(offer)...)
		if got := r.receive(20 * time.Millisecond); got != nil {
			r.t.Fatalf("client %d got %s", i, got.MessageType())
		}
	}
}

// A server that is killed in a storm, again and again, forgets no lease that
// it acknowledged and gives none of them to somebody else.
func TestKilledServerForgetsNothing(t *testing.T) {
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("HELPERD_KILLS")); err == nil {
		rounds = n
	}
	srv, r := newRelay(t, "10.67.0.1")
	dir := t.TempDir()
	given := map[netip.Addr]plan.MAC{}
	for round := range rounds {
		p := startProcess(t, srv, dir, "lan")
		before := len(given)
		end := 20 + rand.IntN(300) // the ACK after which the power goes
		r.storm(round*10000, 1000, 32, func() bool { return len(given)-before >= end }, func(mac plan.MAC, addr netip.Addr) {
			if old, ok := given[addr]; ok && old != mac {
				t.Errorf("round %d: %s was given to %s and %s", round, addr, old, mac)
			}
			given[addr] = mac
		})
		p.kill()
		for r.receive(20*time.Millisecond) != nil { // what was sent before the end; it counts too
			continue
		}
		store, err := state.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		leases, err := store.Leases()
		if err != nil {
			t.Fatal(err)
		}
		stored := map[netip.Addr]state.Lease{}
		for _, l := range leases {
			stored[l.Address] = l
		}
		for addr, mac := range given {
			if l, ok := stored[addr]; !ok || l.MAC != mac || time.Until(l.Expires) < 50*time.Minute {
				t.Errorf("round %d: %s was acknowledged to %s, the disk has %+v", round, addr, mac, l)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(given) < 20*rounds {
		t.Errorf("only %d leases in %d rounds", len(given), rounds)
	}
}

// The order of system calls: between the REQUEST of a pool client and its ACK
// the state file is synchronised, data and root page.
func TestAckAfterSync(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "strace")
	srv, r := newRelay(t, "10.67.0.1")
	trace := filepath.Join(t.TempDir(), "trace")
	p := startProcess(t, srv, t.TempDir(), "lan", "strace", "-f", "-qq", "-xx", "-s", "400", "-o", trace, "-e", "trace=recvmmsg,sendmmsg,fdatasync")
	const clients = 10
	if lost := r.storm(0, clients, 1, never, func(plan.MAC, netip.Addr) {}); lost != 0 {
		t.Fatalf("%d clients got nothing", lost)
	}
	p.stop()
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	request := regexp.MustCompile(`recvmmsg.*\\x35\\x01\\x03`)
	ack := regexp.MustCompile(`sendmmsg.*\\x35\\x01\\x05`)
	synced := regexp.MustCompile(`fdatasync(\(.*| resumed.*)= 0`)
	syncs, acks := 0, 0
	for _, line := range strings.Split(string(b), "\n") {
		switch {
		case request.MatchString(line):
			syncs = 0
		case synced.MatchString(line):
			syncs++
		case ack.MatchString(line):
			acks++
			if syncs < 2 {
				t.Errorf("an ACK was sent after %d synchronisations", syncs)
			}
		}
	}
	if acks != clients {
		t.Errorf("the trace has %d ACKs, want %d:\n%s", acks, clients, b)
	}
}
