package bench

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(tt.in); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	c := &Comparison{
		Units:   Units{Rate: "MB/s", CPU: "CPU s/GB", Per: 1000, Other: []string{"KB"}},
		Servers: []Server{{Name: "ours"}, {Name: "peer", Note: "promises nothing"}},
		Loads: []Load{
			{Name: "small", Bars: []Bar{{Peer: "peer", Rate: 2, CPU: 0.5}}, Most: []float64{1}},
			{Name: "large", Bars: []Bar{{Peer: "peer", Rate: 3, CPU: 0.4, Other: []float64{0.2}}, {Peer: "nobody"}}, Most: []float64{0.5}},
		},
	}
	tab := newTable(c)
	for load := range c.Loads {
		for range 3 {
			tab.add(load, 0, Work{Amount: 100, Elapsed: time.Second, Other: []float64{1}}, time.Second)
			tab.add(load, 1, Work{Amount: 100, Elapsed: 2 * time.Second, Other: []float64{4}}, 2*time.Second)
		}
	}
	var out strings.Builder
	tab.write(&out, 3, time.Minute)
	for _, want := range []string{
		"\npeer: promises nothing\n",
		"MB/s  ours  peer  / peer\n", "small   100  50.0    2.00\n",
		"CPU s/GB  ours  peer  / peer\n", "small  10.0  20.0    0.50\n",
		"missed: large: 2.00x the MB/s of peer, want at least 3.00x\n",
		"missed: large: 0.50x the CPU s/GB of peer, want at most 0.40x\n",
		"KB  ours  peer  / peer\n", "missed: large: 0.25x the KB of peer, want at most 0.20x\n",
		"missed: large: 1.00 KB, want at most 0.50\n",
		`large: no server "nobody" to compare with`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if len(tab.missed()) != 5 {
		t.Errorf("missed %q, want 5", tab.missed())
	}
}

// What a server forks is counted, also while its parent has not waited for it, and ends with the server.
func TestForkedCPUCounts(t *testing.T) {
	l := NewLab(t)
	t.Run("inner", func(t *testing.T) {
		p := start(t, l.Servers, []string{"sh", "-c", "(while :; do :; done) & sleep 1000"})
		err := await(func() error {
			if used, err := p.cpu(); used < 100*time.Millisecond {
				return fmt.Errorf("%v used, %v", used, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	out, err := exec.Command("ip", "netns", "pids", l.Servers.Name).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("still running: %s, %v", out, err)
	}
}
