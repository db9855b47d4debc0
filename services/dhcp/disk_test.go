package dhcp

import (
	"errors"
	"fmt"
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
	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/state"
	"helperd/timeline"
)

// disk makes the synchronisations of p end as strace's inject says, until the function it gives is called.
func (p *process) disk(as string) (repair func()) {
	p.t.Helper()
	netns.Tools(p.t, "strace")
	pid := strconv.Itoa(p.cmd.Process.Pid)
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:"+as, "-p", pid)
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

// While the disk fails nobody is told of a lease that is not on it, what is on it
// is renewed for what is left, and the machines of the plan are served; one event
// says why. When the disk is back all goes on, with nobody asking for it.
func TestDiskFailsAndComesBack(t *testing.T) {
	netns.Tools(t, "strace")
	for _, inject := range []string{"error=EIO", "error=EIO:when=2+", "error=ENOSPC"} {
		t.Run(inject, func(t *testing.T) {
			t.Parallel()
			srv, r := newRelay(t, "10.67.0.1")
			dir := t.TempDir()
			p := startProcess(t, srv, dir, "lan")
			known := r.knownClients()
			var repair func()
			r.withoutDisk(p, known, func() { repair = p.disk(inject) })
			repair()
			r.diskIsBack(p, known)
			p.kill()
			r.released(dir, known)
		})
	}
}

// The same with a state folder that is full.
func TestDiskFullAndEmptiedAgain(t *testing.T) {
	t.Parallel()
	netns.Require(t)
	srv, r := newRelay(t, "10.67.0.1")
	dir, keep := t.TempDir(), t.TempDir()
	// The mount is in the mount namespace that `ip netns exec` makes.
	mount := fmt.Sprintf(`mount -t tmpfs -o size=1m state %s && exec "$@"`, dir)
	p := startProcess(t, srv, dir, "lan", "sh", "-c", mount, "sh")
	inside := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "root", dir)
	filler := filepath.Join(inside, "filler")
	known := r.knownClients()
	r.withoutDisk(p, known, func() { fill(t, filler) })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.diskIsBack(p, known)
	p.do("status") // nothing is being written now
	b, err := os.ReadFile(filepath.Join(inside, "helperd.db"))
	if err != nil {
		t.Fatal(err)
	}
	p.kill()
	if err := os.WriteFile(filepath.Join(keep, "helperd.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.released(keep, known)
}

// fill writes a file until its disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 4096); ; {
		if _, err := f.Write(b); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Clients by their numbers: those up to knowns have their lease before the disk fails.
const knowns = 20

// knownClients gives leases to some clients.
func (r *relay) knownClients() map[plan.MAC]netip.Addr {
	r.t.Helper()
	known := map[plan.MAC]netip.Addr{}
	if lost := r.storm(0, knowns, 4, never, func(mac plan.MAC, addr netip.Addr) { known[mac] = addr }); lost != 0 {
		r.t.Fatalf("%d clients have no address", lost)
	}
	return known
}

// withoutDisk sees to it that nothing is promised that is not on disk after
// breakIt, and that the others are served.
func (r *relay) withoutDisk(p *process, known map[plan.MAC]netip.Addr, breakIt func()) {
	r.t.Helper()
	breakIt()
	given := map[netip.Addr]bool{}
	for i := 0; ; i++ { // a disk that is full takes some more
		mac := macOf(1000 + i)
		r.send(mac, dhcpv4.MessageTypeDiscover)
		offer := r.receive(5 * time.Second)
		if offer == nil {
			break
		}
		r.send(mac, dhcpv4.MessageTypeRequest, selecting(offer)...)
		ack := r.receive(2 * time.Second)
		if ack == nil {
			break
		}
		addr, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
		given[addr] = true
		if i == 20000 {
			r.t.Fatal("the disk does not fail")
		}
	}
	p.until("status", contains("pool leases cannot be stored"))
	if got := p.do("metrics"); !strings.Contains(got, "helperd_dhcp_disk_failing=1") {
		r.t.Errorf("metrics %s", got)
	}
	for i := range 10 {
		r.send(macOf(30000+i), dhcpv4.MessageTypeDiscover)
	}
	if got := r.receive(200 * time.Millisecond); got != nil {
		r.t.Fatalf("a new client got %s", got.MessageType())
	}
	for i := range knowns {
		mac := macOf(i)
		r.send(mac, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(known[mac].AsSlice()))
		got := r.receive(5 * time.Second)
		if got == nil || got.MessageType() != dhcpv4.MessageTypeAck || got.YourIPAddr.String() != known[mac].String() || got.IPAddressLeaseTime(0) > time.Hour {
			r.t.Fatalf("renewal of known client %d: %v", i, got)
		}
	}
	edge := dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte("\x05\x04\x0a\x1e\x08\x00"))
	r.send(edgeMAC, dhcpv4.MessageTypeRequest, edge, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress([]byte{10, 30, 8, 10})))
	if got := r.receive(5 * time.Second); got == nil || got.MessageType() != dhcpv4.MessageTypeAck {
		r.t.Errorf("a machine of the plan: %v", got)
	}
	r.send(macOf(0), dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(known[macOf(0)].AsSlice()))
	p.until("leases", func(s string) bool { return !strings.Contains(s, macOf(0).String()) })
}

// diskIsBack waits until leases are given again, of which nobody reminds the server.
func (r *relay) diskIsBack(p *process, known map[plan.MAC]netip.Addr) {
	r.t.Helper()
	p.until("status", contains(`"state":"up"`))
	for _, want := range []timeline.Kind{timeline.DHCPFailed, timeline.DHCPStored} {
		if n := strings.Count(p.do("events"), `"kind":"`+string(want)+`"`); n != 1 {
			r.t.Errorf("%d events %s, want one", n, want)
		}
	}
	taken := map[netip.Addr]plan.MAC{}
	for mac, addr := range known {
		if mac != macOf(0) {
			taken[addr] = mac
		}
	}
	const clients = 20
	lost := r.storm(40000, clients, 4, never, func(mac plan.MAC, addr netip.Addr) {
		if old, ok := taken[addr]; ok {
			r.t.Errorf("%s is %s's and was given to %s", addr, old, mac)
		}
		taken[addr] = mac
	})
	if lost != 0 {
		r.t.Errorf("%d of %d clients have no address", lost, clients)
	}
}

// released looks at the disk: it knows of the release that it missed, and of all others.
func (r *relay) released(dir string, known map[plan.MAC]netip.Addr) {
	r.t.Helper()
	for mac, addr := range known {
		l, ok := stored(r.t, dir)[addr]
		if alive := ok && l.MAC == mac && time.Until(l.Expires) > 50*time.Minute; alive == (mac == macOf(0)) {
			r.t.Errorf("the disk has of %s, client %s: %+v", addr, mac, l)
		}
	}
}

// stored gives the leases in a state folder that nobody uses.
func stored(t *testing.T, dir string) map[netip.Addr]state.Lease {
	t.Helper()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	leases, err := store.Leases()
	if err != nil {
		t.Fatal(err)
	}
	out := map[netip.Addr]state.Lease{}
	for _, l := range leases {
		out[l.Address] = l
	}
	return out
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
	begun := map[string]int{} // by thread: synchronisations before a call whose end is another line
	for _, line := range strings.Split(string(b), "\n") {
		thread, call, _ := strings.Cut(line, " ")
		switch {
		case strings.Contains(line, "unfinished") && strings.Contains(call, "sendmmsg"):
			begun[thread] = syncs
		case request.MatchString(line):
			syncs = 0
		case synced.MatchString(line):
			syncs++
		case ack.MatchString(line):
			acks++
			before := syncs
			if strings.Contains(call, "resumed") {
				before = begun[thread]
			}
			if before < 2 {
				t.Errorf("an ACK was sent after %d synchronisations", before)
			}
		}
	}
	if acks != clients {
		t.Errorf("the trace has %d ACKs, want %d:\n%s", acks, clients, b)
	}
}
