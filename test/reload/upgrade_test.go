package reload

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// frontends of the balancer for flood and tunnels; the machines are the cluster's workers.
const loadFrontends = `
lb:
  max_connections: 100000
  frontends:
    - {name: load, listen: "192.168.67.2:7001", backend: load}
    - {name: echo, listen: "192.168.67.2:7002", backend: echo}
  backends:
    - name: load
      check: {type: tcp, interval: 1s}
      servers:
        - {name: w0, address: "192.168.67.21:7001"}
        - {name: w1, address: "192.168.67.22:7001"}
    - name: echo
      check: {type: tcp, interval: 1s}
      servers:
        - {name: w0, address: "192.168.67.21:7002"}
        - {name: w1, address: "192.168.67.22:7002"}
`

var (
	loadAddr = netip.MustParseAddrPort(rig.HelperIP + ":7001")
	echoAddr = netip.MustParseAddrPort(rig.HelperIP + ":7002")
)

// setting is a number of the environment, or what suits a short run.
func setting(name string, short int) int {
	if v, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return v
	}
	return short
}

// newBalancer is a helper that systemd has started, with servers behind its balancer.
func newBalancer(t *testing.T) *stage {
	t.Helper()
	netns.Require(t)
	s := &stage{Rig: rig.New(t, rig.Options{Systemd: true, Edit: func(text string) string { return text + loadFrontends }})}
	for _, name := range []string{"worker-0", "worker-1"} {
		m := s.Machine(t, name)
		answerer(t, m, 7001)
		echoer(t, m, 7002)
	}
	s.client = s.Neighbour(t, "52:54:00:99:00:01", "192.168.67.50")
	s.Start(t)
	return s
}

// upgrade makes the daemon go on as a program that a package manager has just put in the place of its own.
func (s *stage) upgrade(t *testing.T) time.Duration {
	t.Helper()
	program := filepath.Join(s.Dir, "helperd")
	b, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(program+".new", b, 0o755)
	}
	if err == nil {
		err = os.Rename(program+".new", program)
	}
	if err != nil {
		t.Fatal(err)
	}
	pid, begun := s.PID(), time.Now()
	s.Order(t, "upgrade")
	took := time.Since(begun)
	if st := s.Status(t); st.PID != pid || st.Started.Before(begun) {
		t.Errorf("after the upgrade the process is %d, started %s, want %d and a new start", st.PID, st.Started, pid)
	}
	return took
}

// rest is the time between two changes: what waited during one is served before the
// next, also where clients, servers and the daemon share two cores.
const rest = time.Second

// Reloads, upgrades in place and restarts under new connections all the time:
// HELPERD_RATE of them a second, HELPERD_RELOADS reloads, HELPERD_RESTARTS of each kind of restart.
// Reloads and upgrades lose nothing at all; restarts cut what is under way and refuse nothing.
func TestRestartsRefuseNothing(t *testing.T) {
	rate, reloads, restarts := setting("HELPERD_RATE", 500), setting("HELPERD_RELOADS", 6), setting("HELPERD_RESTARTS", 2)
	s := newBalancer(t)
	load := newFlood(t, s.client, loadAddr, rate)
	long := newTunnels(t, s.client, echoAddr, 100, 4, 2)
	nothing := func(what string) {
		t.Helper()
		for kind, n := range load.report(t, what, rate) {
			t.Errorf("%s: %d connections %s", what, n, kind)
		}
	}
	time.Sleep(3 * time.Second)
	nothing("before any change")

	for i := range reloads {
		s.Apply(t, func(text string) string { return changed(text, i) })
		time.Sleep(rest)
	}
	nothing(fmt.Sprintf("%d reloads", reloads))
	long.pingIdle(t, "after the reloads")

	for i := range restarts {
		t.Logf("upgrade %d took %s", i+1, s.upgrade(t).Round(time.Millisecond))
		time.Sleep(3 * rest)
	}
	nothing(fmt.Sprintf("%d upgrades", restarts))
	long.finish(t)

	for _, by := range []struct {
		signal string
		end    func()
	}{{"SIGTERM", func() { s.Stop(t) }}, {"SIGKILL", func() { s.Kill(t) }}} {
		for range restarts {
			begun := time.Now()
			by.end()
			stopped := time.Since(begun)
			s.Start(t)
			t.Logf("restart by %s: %s to stop, %s in all", by.signal, stopped.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
			time.Sleep(time.Second)
		}
		lost := load.report(t, fmt.Sprintf("%d restarts by %s", restarts, by.signal), rate)
		for _, kind := range []string{"refused", "timed out", "other"} {
			if lost[kind] > 0 {
				t.Errorf("%d restarts by %s: %d connections %s", restarts, by.signal, lost[kind], kind)
			}
		}
	}
	s.protocol(t)
}

// changed adds a worker or takes it away, and makes the section of the balancer another one.
func changed(text string, i int) string {
	_, _, _, line := worker(i)
	if i%2 == 0 {
		text = insert(line)(text)
	} else {
		_, _, _, before := worker(i - 1)
		text = strings.Replace(text, before, "", 1)
	}
	extra := `        - {name: w2, address: "192.168.67.21:7001", weight: 3}` + "\n"
	if strings.Contains(text, extra) {
		return strings.Replace(text, extra, "", 1)
	}
	after := `        - {name: w1, address: "192.168.67.22:7001"}` + "\n"
	return strings.Replace(text, after, after+extra, 1)
}

// protocol checks what systemd has heard.
func (s *stage) protocol(t *testing.T) {
	t.Helper()
	ready, reloading := 0, false
	for _, m := range s.Systemd.Messages() {
		switch {
		case strings.HasPrefix(m, "RELOADING=1"):
			if reloading = true; !strings.Contains(m, "\nMONOTONIC_USEC=") {
				t.Errorf("%q does not say when", m)
			}
		case m == "READY=1":
			ready++
			reloading = false
		}
	}
	if ready == 0 || reloading {
		t.Errorf("systemd heard READY=1 %d times; it waits for one more: %t", ready, reloading)
	}
	for _, want := range []string{"tcp/192.168.67.2%3A7001/", "udp/192.168.67.2%3A53/", "tcp/192.168.67.2%3A8080/"} {
		if !strings.Contains(strings.Join(s.Systemd.Stored(), " "), want) {
			t.Errorf("%s is not in the descriptor store: %q", want, s.Systemd.Stored())
		}
	}
}
