package bootstorm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"helperd/ghost"
	"helperd/internal/netns"
	"helperd/test/rig"
)

// patience is how long a machine may take.
const patience = 5 * time.Minute

// TestStorm is the short form: helperd alone, by HTTP and all by TFTP.
func TestStorm(t *testing.T) {
	netns.Require(t)
	for _, name := range []string{"mix", "all-tftp"} {
		t.Run(name, func(t *testing.T) {
			r := helperd.storm(t, mixNamed(t, name), 60, sizes{1 << 20, 2<<20 + 1, 4<<20 + 2})
			r.hold(t)
			t.Logf("\n%s", table([]*result{r}))
		})
	}
}

// TestLongStorm is `make bootstorm`.
func TestLongStorm(t *testing.T) {
	count, err := strconv.Atoi(cmp.Or(os.Getenv("HELPERD_STORM"), "0"))
	if err != nil || count > 240 {
		t.Fatalf("HELPERD_STORM=%q is no number of machines up to 240", os.Getenv("HELPERD_STORM"))
	}
	if count == 0 {
		return // TestStorm is the form without the variable
	}
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("HELPERD_STORM_ROUNDS"), "3"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile("^(" + cmp.Or(os.Getenv("HELPERD_STORM_MIX"), ".*") + ")$")
	var all []*result
	for _, m := range mixes {
		if !wanted.MatchString(m.name) {
			continue
		}
		for round := range rounds {
			for _, p := range []party{helperd, peer} {
				t.Run(fmt.Sprintf("%s/%d/%s", m.name, round+1, p.name), func(t *testing.T) {
					r := p.storm(t, m, count, sizes{4 << 20, 12<<20 + 1, 8<<20 + 2})
					if p.name == helperd.name {
						r.hold(t)
					}
					for _, err := range r.failed[:min(len(r.failed), 3)] {
						t.Log(err)
					}
					all = append(all, r)
				})
			}
		}
	}
	fmt.Printf("\n%s\n%s\n%s", table(all), stages(all), ratios(all))
}

// party is a server to measure.
type party struct {
	name  string
	start func(*stage, *testing.T) []int // gives its process ids
}

var (
	helperd = party{"helperd", func(s *stage, t *testing.T) []int { s.Start(t); return []int{s.PID()} }}
	peer    = party{"dnsmasq+nginx", (*stage).startPeer}
)

// storm switches on count machines at once and waits for the last one.
func (p party) storm(t *testing.T, m mix, count int, z sizes) *result {
	t.Helper()
	s := newStage(t, m, count, z)
	pids := p.start(s, t)
	r := &result{party: p.name, mix: m.name, count: count, took: map[ghost.Stage][]time.Duration{}}
	before := used(t, pids)

	var mu sync.Mutex
	var all, ready sync.WaitGroup
	power := make(chan struct{})
	ready.Add(count)
	for i, m := range s.machines {
		n := &ghost.Node{
			Name: m.name, MAC: m.mac, Role: m.role, Firmware: s.mix.firmware[i%len(s.mix.firmware)],
			Link: s.link, Sums: s.sums, Outside: rig.UpstreamName,
		}
		all.Go(func() {
			defer n.Close()
			ready.Done()
			<-power
			begun := time.Now()
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("the storm's patience is over"))
			defer cancel()
			var steps []ghost.Step
			err := n.Install(ctx, func(step ghost.Step) { steps = append(steps, step) })
			if got := n.Address(); err == nil && got != m.ip {
				err = fmt.Errorf("%s got %s and should have %s", m.name, got, m.ip)
			}
			mu.Lock()
			defer mu.Unlock()
			r.add(time.Since(begun), steps, err)
		})
	}
	ready.Wait()
	begun := time.Now()
	close(power)
	all.Wait()
	r.wall = time.Since(begun)
	r.usage = used(t, pids).since(before)
	r.drops = drops(t, pids)
	return r
}

// drops is how many packets found the buffer of the DHCP socket full.
func drops(t *testing.T, pids []int) (sum int) {
	t.Helper()
	found := false
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/udp", pids[len(pids)-1]))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 13 || !strings.HasSuffix(f[1], ":0043") {
			continue
		}
		n, err := strconv.Atoi(f[len(f)-1])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		sum, found = sum+n, true
	}
	if !found {
		t.Fatalf("no socket has port 67:\n%s", b)
	}
	return sum
}
