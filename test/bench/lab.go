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

	addrs int // given to servers
}

// NewLab makes the namespaces, which end with the test. Without privileges the
// test ends by netns.SkipOrFail.
func NewLab(t testing.TB) *Lab {
	t.Helper()
	netns.Require(t)
	if cgroups() == "" {
		netns.SkipOrFail(t, "no cgroup2 file system is mounted: the CPU of servers that fork cannot be told")
	}
	l := &Lab{Servers: netns.New(t), Clients: netns.New(t)}
	dir, err := os.MkdirTemp("", "helperd-bench-") // t.TempDir is closed to servers that drop root
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	l.Dir = dir
	netns.Link(t, l.Servers, l.Clients, "", ClientIP+"/24")
	l.Clients.IP(t, "route", "add", "local", many, "dev", "lo")
	return l
}

// addr adds an address for one more server.
func (l *Lab) addr(t testing.TB) netip.Addr {
	t.Helper()
	l.addrs++
	a := netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + l.addrs)})
	l.Servers.IP(t, "address", "add", a.String()+"/24", "dev", "eth0")
	if l.addrs == 1 {
		l.Servers.IP(t, "route", "add", many, "via", ClientIP)
	}
	return a
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
