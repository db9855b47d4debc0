package bootstorm

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"helperd/ghost"
)

// result is what came of one storm.
type result struct {
	party, mix string
	count      int
	failed     []error
	total      []time.Duration // of each machine that came through
	took       map[ghost.Stage][]time.Duration
	wall       time.Duration
	usage      usage
	drops      int
}

func (r *result) add(total time.Duration, steps []ghost.Step, err error) {
	if err != nil {
		r.failed = append(r.failed, err)
		return
	}
	r.total = append(r.total, total)
	for _, s := range steps {
		if s.Took > 0 { // else it tells of a wait that its step counts
			r.took[part(s)] = append(r.took[part(s)], s.Took)
		}
	}
}

// script is what iPXE loads by HTTP after its loader came by TFTP.
const script ghost.Stage = "script"

// part is the stage of a step, with the script apart from the loader.
func part(s ghost.Step) ghost.Stage {
	if s.Stage == ghost.StageLoader && strings.HasPrefix(s.Detail, "iPXE runs ") {
		return script
	}
	return s.Stage
}

// hold fails the test unless every machine came through and no packet was lost.
func (r *result) hold(t *testing.T) {
	t.Helper()
	for _, err := range r.failed[:min(len(r.failed), 5)] {
		t.Error(err)
	}
	if ok := len(r.total); ok != r.count {
		t.Errorf("%d of %d machines came through", ok, r.count)
	}
	if r.drops != 0 {
		t.Errorf("port 67 dropped %d packets: each cost its machine four seconds", r.drops)
	}
}

// usage of the servers' processes.
type usage struct {
	cpu time.Duration
	rss int // peak in MiB
}

func (u usage) since(before usage) usage { return usage{u.cpu - before.cpu, u.rss} }

// used reads what the processes took so far; see proc_pid_stat(5).
func used(t *testing.T, pids []int) (u usage) {
	t.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 for every program
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatalf("a server has ended: %v", err)
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		for _, s := range f[11:13] {
			n, _ := strconv.Atoi(s)
			u.cpu += time.Duration(n) * tick
		}
		b, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); f[0] == "VmHWM:" {
				n, _ := strconv.Atoi(f[1])
				u.rss += n >> 10
			}
		}
	}
	return u
}

// quantile of durations, in seconds.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[min(len(d)-1, int(q*float64(len(d))))].Seconds()
}

func columns(write func(w *tabwriter.Writer)) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	write(w)
	_ = w.Flush()
	return b.String()
}

// table has a line for each storm.
func table(results []*result) string {
	return columns(func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "mix\tserver\tok\ttotal p50 s\ttotal p99 s\twall s\tdhcp p99 s\tdrops\tserver CPU s\tRSS MiB\t")
		for _, r := range results {
			fmt.Fprintf(w, "%s\t%s\t%d/%d\t%.2f\t%.2f\t%.2f\t%.3f\t%d\t%.2f\t%d\t\n", r.mix, r.party, len(r.total), r.count,
				quantile(r.total, .5), quantile(r.total, .99), r.wall.Seconds(), quantile(r.took[ghost.StageDHCP], .99), r.drops, r.usage.cpu.Seconds(), r.usage.rss)
		}
	})
}

var measured = []ghost.Stage{ghost.StageDHCP, ghost.StageLoader, script, ghost.StageKernel, ghost.StageLive, ghost.StageRootfs, ghost.StageIgnition, ghost.StageDNS}

// stages has the times of the stages of each storm, p50/p99 in seconds.
func stages(results []*result) string {
	return columns(func(w *tabwriter.Writer) {
		fmt.Fprint(w, "mix\tserver\t")
		for _, s := range measured {
			fmt.Fprintf(w, "%s\t", s)
		}
		fmt.Fprintln(w)
		for _, r := range results {
			fmt.Fprintf(w, "%s\t%s\t", r.mix, r.party)
			for _, s := range measured {
				fmt.Fprintf(w, "%.2f/%.2f\t", quantile(r.took[s], .5), quantile(r.took[s], .99))
			}
			fmt.Fprintln(w)
		}
	})
}

// ratios compares medians over the rounds: below 1, helperd needs less. They
// mean little where the peer's machines did not come through: see table.
func ratios(results []*result) string {
	median := func(mix, party string, of func(*result) float64) float64 {
		var v []float64
		for _, r := range results {
			if r.mix == mix && r.party == party {
				v = append(v, of(r))
			}
		}
		if len(v) == 0 {
			return 0
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	rows := []struct {
		name string
		of   func(*result) float64
	}{
		{"wall", func(r *result) float64 { return r.wall.Seconds() }},
		{"total p50", func(r *result) float64 { return quantile(r.total, .5) }},
		{"total p99", func(r *result) float64 { return quantile(r.total, .99) }},
		{"CPU", func(r *result) float64 { return r.usage.cpu.Seconds() }},
	}
	return columns(func(w *tabwriter.Writer) {
		fmt.Fprint(w, "helperd / dnsmasq+nginx\t")
		for _, row := range rows {
			fmt.Fprintf(w, "%s\t", row.name)
		}
		fmt.Fprintln(w)
		for _, m := range mixes {
			if median(m.name, helperd.name, rows[0].of) == 0 {
				continue
			}
			fmt.Fprintf(w, "%s\t", m.name)
			for _, row := range rows {
				if of := median(m.name, peer.name, row.of); of > 0 {
					fmt.Fprintf(w, "%.2f\t", median(m.name, helperd.name, row.of)/of)
				} else {
					fmt.Fprint(w, "-\t") // none of its machines came through
				}
			}
			fmt.Fprintln(w)
		}
	})
}
