package tftp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/bench"
)

const (
	large      = "initramfs.img" // longer than one client needs within its time
	largeBytes = 600_000_000
	small      = "grubx64.efi" // what many fetch at once
	smallBytes = 1_000_000
)

// site is a folder that all servers serve.
type site struct {
	lab     *bench.Lab
	root    string
	content map[string][]byte
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{lab: bench.NewLab(t), content: map[string][]byte{}}
	s.root = filepath.Join(s.lab.Dir, "tftp")
	if err := os.Mkdir(s.root, 0o755); err != nil {
		t.Fatal(err)
	}
	size := largeBytes
	if !bench.Full() {
		size /= 10
	}
	for name, n := range map[string]int{large: size, small: smallBytes} {
		b := make([]byte, n)
		_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b) // never fails
		s.content[name] = b
		if err := os.WriteFile(filepath.Join(s.root, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// fetch gives the load that a describes; its server and content are filled in.
func (s *site) fetch(a ask) func(testing.TB, netip.Addr) bench.Work {
	return func(t testing.TB, addr netip.Addr) bench.Work {
		t.Helper()
		a := a
		a.server, a.content = netip.AddrPortFrom(addr, 69), s.content[a.file]
		var total, resent int
		var took time.Duration
		err := s.lab.Clients.Call(func() (err error) {
			begun := time.Now()
			total, resent, err = a.run()
			took = time.Since(begun)
			return err
		})
		if err != nil {
			t.Errorf("fetch %s: %v", a.file, err)
			return bench.Work{}
		}
		if resent > 0 {
			t.Logf("%s from %s: the clients waited %d times for a packet", a.file, addr, resent)
		}
		return bench.Work{Amount: float64(total) / 1e6, Elapsed: took}
	}
}

// ready gives nil when the server sends the small file.
func (s *site) ready(addr netip.Addr) error {
	return s.lab.Clients.Call(func() error {
		a := ask{server: netip.AddrPortFrom(addr, 69), from: machines(1), file: small, content: s.content[small], block: 1468, window: 1}
		_, _, err := a.run()
		return err
	})
}

// machines are the addresses of n clients.
func machines(n int) []netip.Addr {
	out := make([]netip.Addr, n)
	for i := range out {
		out[i] = bench.ClientAddr(i)
	}
	return out
}

// TestCompare prints the tables.
func TestCompare(t *testing.T) {
	netns.Tools(t, "in.tftpd", "dnsmasq")
	s := newSite(t)
	c := bench.Comparison{
		Units: bench.Units{Rate: "MB/s", CPU: "CPU s/GB", Per: 1000},
		Servers: []bench.Server{
			s.lab.Helperd(t, fmt.Sprintf("tftp: {root: %s}", s.root)),
			{Name: "in.tftpd", Ready: s.ready, Command: func(addr netip.Addr) []string {
				return []string{"in.tftpd", "-L", "-u", "root", "-s", "-a", addr.String() + ":69", "-m", "/dev/null", s.root}
			}},
			{Name: "dnsmasq", Ready: s.ready, Command: func(addr netip.Addr) []string {
				return []string{
					"dnsmasq", "-k", "-C", "/dev/null", "--port=0", "--enable-tftp", "--tftp-root=" + s.root, "--tftp-max=1000", "--quiet-tftp",
					"--listen-address=" + addr.String(), "--bind-interfaces", "-u", "root", "--pid-file=" + filepath.Join(s.lab.Dir, "dnsmasq.pid"),
				}
			}},
		},
		Loads: s.loads(),
	}
	c.Run(t, s.lab)
}

// loads are the rows. A LAN answers after 300 us or so.
func (s *site) loads() []bench.Load {
	lan, limit := 300*time.Microsecond, 500*time.Millisecond
	if !bench.Full() {
		limit /= 5
	}
	level := []bench.Bar{{Peer: "in.tftpd", Rate: 0.85}}
	faster := []bench.Bar{{Peer: "in.tftpd", Rate: 3}}
	cheaper := []bench.Bar{{Peer: "in.tftpd", Rate: 3, CPU: 0.5}}
	var out []bench.Load
	for _, r := range []struct {
		block, window int
		delay         time.Duration
		clients       int
		bars          []bench.Bar
	}{
		{512, 1, lan, 1, level},
		{1468, 1, lan, 1, level},
		{1468, 4, lan, 1, faster},
		{1468, 16, lan, 1, cheaper},
		{1468, 64, lan, 1, cheaper},
		{512, 1, 0, 1, nil},
		{1468, 1, 0, 1, nil},
		{1468, 4, 0, 1, nil},
		{1468, 16, 0, 1, cheaper},
		{1468, 64, 0, 1, cheaper},
		{1468, 1, 0, 64, nil},
		{1468, 4, 0, 64, nil},
		{1468, 1, 0, 200, []bench.Bar{{Peer: "dnsmasq", Rate: 1}}},
	} {
		a := ask{from: machines(r.clients), file: large, block: r.block, window: r.window, delay: r.delay, limit: limit}
		name := fmt.Sprintf("%d x %d", r.block, r.window)
		switch {
		case r.clients > 1:
			a.file, a.limit = small, 0
			name = fmt.Sprintf("%d clients, %s", r.clients, name)
		case r.delay > 0:
			name += fmt.Sprintf(", %d us apart", r.delay.Microseconds())
		}
		out = append(out, bench.Load{Name: name, Run: s.fetch(a), Bars: r.bars})
	}
	return out
}
