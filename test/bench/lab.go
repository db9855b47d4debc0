package bench

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"helperd/internal/netns"
)

// ClientIP is where loads come from.
const ClientIP = "192.0.2.1"

// many is a network whose every address is the clients', for loads of many machines.
const many = "198.51.100.0/24"

// ClientAddr is the address of the i-th of up to 254 machines, counted from 0.
func ClientAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)}) }

// A Lab is two namespaces joined by a link with Ethernet's MTU.
type Lab struct {
	Servers, Clients *netns.NS
	Dir              string // for files of servers and loads; any user may enter it

	procs map[netip.Addr]*process // the servers
}

// NewLab makes the namespaces, which end with the test. Without privileges the
// test ends by netns.SkipOrFail.
func NewLab(t testing.TB) *Lab {
	t.Helper()
	netns.Require(t)
	if cgroups() == "" {
		netns.SkipOrFail(t, "no cgroup2 file system is mounted: the CPU of servers that fork cannot be told")
	}
	l := &Lab{Servers: netns.New(t), Clients: netns.New(t), procs: map[netip.Addr]*process{}}
	dir, err := os.MkdirTemp("", "helperd-bench-") // t.TempDir is closed to servers that drop root
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	l.Dir = dir
	netns.Link(t, l.Servers, l.Clients, "", ClientIP+"/24")
	l.Clients.IP(t, "route", "add", "local", many, "dev", "lo")
	return l
}

// Start runs s at an address of its own until the test ends, and gives the address when s is ready.
func (l *Lab) Start(t testing.TB, s Server) netip.Addr {
	t.Helper()
	a := l.address(t)
	l.run(t, s, a)
	return a
}

// address gives the next server's address.
func (l *Lab) address(t testing.TB) netip.Addr {
	t.Helper()
	a := netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + len(l.procs))})
	l.Servers.IP(t, "address", "add", a.String()+"/24", "dev", "eth0")
	if len(l.procs) == 0 {
		l.Servers.IP(t, "route", "add", many, "via", ClientIP)
	}
	l.procs[a] = nil
	return a
}

// run starts s at address a and returns when it is ready.
func (l *Lab) run(t testing.TB, s Server, a netip.Addr) *process {
	t.Helper()
	p := start(t, l.Servers, s.Command(a))
	l.procs[a] = p
	if err := await(func() error { return s.Ready(a) }); err != nil {
		t.Fatalf("%s: %v\n%s", s.Name, err, p.out.String())
	}
	return p
}

// Memory is the proportional set size, in bytes, of the server that was started at addr.
func (l *Lab) Memory(t testing.TB, addr netip.Addr) int64 {
	t.Helper()
	n, err := l.procs[addr].memory()
	must(t, err)
	return n
}

// await asks until ready is, for at most 20 s.
func await(ready func() error) error {
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = ready(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("not ready within 20 s: %w", err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
