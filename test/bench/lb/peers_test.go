package lb

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/test/bench"
)

const (
	port    = 9001
	servers = 3
	tunnels = 10_000 // that are idle
)

// lab is the stage: backends that all balancers have.
type lab struct {
	*bench.Lab
	backends *backends
	files    int // that a process may open
}

func newLab(t *testing.T) *lab {
	t.Helper()
	netns.Require(t)
	netns.Tools(t, "haproxy")
	l := &lab{Lab: bench.NewLab(t), files: openFiles(t)}
	var addrs []netip.AddrPort
	for i := range servers + 1 {
		addrs = append(addrs, netip.AddrPortFrom(bench.ClientAddr(i), port))
	}
	l.backends = newBackends(t, l.Clients, addrs...)
	return l
}

// openFiles raises the limit of this process and those that it starts, if it may, and gives it.
func openFiles(t testing.TB) int {
	t.Helper()
	limit := unix.Rlimit{Cur: 4 * tunnels, Max: 4 * tunnels}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) != nil { // a container's root
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	return int(limit.Cur)
}

// idle is how many tunnels may be idle: a tunnel takes two descriptors of the balancer, and
// two of this process. helperd leaves a quarter of its own to other services, and some to each of its frontends.
func (l *lab) idle(t testing.TB, full bool) int {
	t.Helper()
	n := 1000
	if full {
		n = tunnels
	}
	if most := l.files*5/16 - 3*many; n > most {
		t.Logf("%d tunnels and not %d: this process may not raise the limit of %d open files", most, n, l.files)
		n = most
	}
	return n
}

// maxConns is the limit of all balancers; HAProxy refuses one that it cannot reach.
func (l *lab) maxConns() int { return (l.files - 200) / 2 }

// haproxyConf has the timeouts, checks and limits of helperd's defaults.
const haproxyConf = `global
    maxconn MAXCONN
    nbthread THREADS
defaults
    mode tcp
    retries 3
    option redispatch 1
    timeout connect 10s
    timeout client 4h
    timeout server 4h
    timeout queue 1m
    timeout check 4s
    maxconn MAXCONN
frontend bench
    bind ADDRESS:PORT
    default_backend bench
backend bench
    balance roundrobin
    default-server check inter 5s fastinter 2s fall 2 rise 3
`

// haproxy of so many threads.
func (l *lab) haproxy(t testing.TB, threads int) bench.Server {
	name := fmt.Sprintf("haproxy %d", threads)
	return bench.Server{
		Name: name, Ready: l.ready,
		Command: func(addr netip.Addr) []string {
			text := strings.NewReplacer("ADDRESS", addr.String(), "PORT", fmt.Sprint(port), "THREADS", fmt.Sprint(threads), "MAXCONN", fmt.Sprint(l.maxConns())).Replace(haproxyConf)
			for i, a := range l.backends.addrs[:servers] {
				text += fmt.Sprintf("    server s%d %s\n", i, a)
			}
			file := filepath.Join(l.Dir, strings.ReplaceAll(name, " ", "-")+".cfg")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			return []string{"haproxy", "-db", "-f", file}
		},
	}
}

// balancer is helperd's configuration with so many servers.
func (l *lab) balancer(servers int) string {
	text := fmt.Sprintf(`lb:
  max_connections: %d
  frontends: [{name: bench, listen: "ADDRESS:%d", backend: bench}]
  backends:
    - name: bench
      check: {type: tcp}
      servers:
`, l.maxConns(), port)
	for i, a := range l.backends.addrs[:servers] {
		text += fmt.Sprintf("        - {name: s%d, address: %q}\n", i, a)
	}
	return text
}

func (l *lab) helperd(t testing.TB) bench.Server {
	s := l.Helperd(t, l.balancer(servers))
	up := s.Ready
	s.Ready = func(addr netip.Addr) error {
		if err := up(addr); err != nil {
			return err
		}
		return l.ready(addr)
	}
	return s
}

// ready gives nil when a connection is served.
func (l *lab) ready(addr netip.Addr) error {
	return l.with(addr, 1, func(c *clients) error {
		n, err := c.connections(50 * time.Millisecond)
		if err == nil && n == 0 {
			err = fmt.Errorf("no answer")
		}
		return err
	})
}

func (l *lab) with(addr netip.Addr, n int, fn func(*clients) error) error {
	return l.backends.clients(l.Clients, netip.AddrPortFrom(addr, port), n, fn)
}
