package bench

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// table has the figures of every run.
type table struct {
	*Comparison
	rate, cpu [][][]float64   // by load, server, round
	other     [][][][]float64 // the same, by figure
}

func newTable(c *Comparison) *table {
	cells := func() [][][]float64 {
		rows := make([][][]float64, len(c.Loads))
		for i := range rows {
			rows[i] = make([][]float64, len(c.Servers))
		}
		return rows
	}
	t := &table{Comparison: c, rate: cells(), cpu: cells()}
	for range c.Units.Other {
		t.other = append(t.other, cells())
	}
	return t
}

func (t *table) add(load, server int, w Work, cpu time.Duration) {
	t.rate[load][server] = append(t.rate[load][server], w.Amount/w.Elapsed.Seconds())
	t.cpu[load][server] = append(t.cpu[load][server], cpu.Seconds()/w.Amount*t.Units.Per)
	for k := range t.other {
		t.other[k][load][server] = append(t.other[k][load][server], w.Other[k])
	}
}

// median of figures, of which there is at least one.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	mid := len(v) / 2
	if len(v)%2 == 0 {
		return (v[mid-1] + v[mid]) / 2
	}
	return v[mid]
}

// write shows a table of the rates, one of the CPU, and those of other figures:
// medians, and the ratios of the first server's median to the others'.
func (t *table) write(w io.Writer, rounds int, took time.Duration) {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		load = []byte("not known")
	}
	fmt.Fprintf(w, "\nmedians of %d alternating rounds in %v on %d CPUs, load average %s\n", rounds, took.Round(time.Second), runtime.NumCPU(), strings.TrimSpace(string(load)))
	for _, s := range t.Servers {
		if s.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", s.Name, s.Note)
		}
	}
	t.section(w, t.Units.Rate, t.rate)
	t.section(w, t.Units.CPU, t.cpu)
	for k, unit := range t.Units.Other {
		t.section(w, unit, t.other[k])
	}
	for _, m := range t.missed() {
		fmt.Fprintln(w, m)
	}
}

func (t *table) section(w io.Writer, unit string, figures [][][]float64) {
	if unit == "" {
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "\n"+unit, "\t")
	for _, s := range t.Servers {
		fmt.Fprint(tw, s.Name, "\t")
	}
	for _, s := range t.Servers[1:] {
		fmt.Fprint(tw, "/ ", s.Name, "\t")
	}
	fmt.Fprintln(tw)
	for row, load := range t.Loads {
		fmt.Fprint(tw, load.Name, "\t")
		for i := range t.Servers {
			fmt.Fprint(tw, figure(median(figures[row][i])), "\t")
		}
		for i := range t.Servers[1:] {
			fmt.Fprint(tw, figure(median(figures[row][0])/median(figures[row][i+1])), "\t")
		}
		fmt.Fprintln(tw)
	}
	_ = tw.Flush() // standard output, or a buffer
}

// figure shows three digits.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// missed says which bars the first server did not reach.
func (t *table) missed() []string {
	var out []string
	for row, load := range t.Loads {
		for k, most := range load.Most {
			if got := median(t.other[k][row][0]); most > 0 && got > most {
				out = append(out, fmt.Sprintf("missed: %s: %s %s, want at most %s", load.Name, figure(got), t.Units.Other[k], figure(most)))
			}
		}
		for _, bar := range load.Bars {
			i := slices.IndexFunc(t.Servers, func(s Server) bool { return s.Name == bar.Peer })
			if i < 0 {
				out = append(out, fmt.Sprintf("%s: no server %q to compare with", load.Name, bar.Peer))
				continue
			}
			if got := median(t.rate[row][0]) / median(t.rate[row][i]); got < bar.Rate {
				out = append(out, fmt.Sprintf("missed: %s: %.2fx the %s of %s, want at least %.2fx", load.Name, got, t.Units.Rate, bar.Peer, bar.Rate))
			}
			most := func(unit string, figures [][]float64, bar float64, peer string) {
				if got := median(figures[0]) / median(figures[i]); bar > 0 && got > bar {
					out = append(out, fmt.Sprintf("missed: %s: %.2fx the %s of %s, want at most %.2fx", load.Name, got, unit, peer, bar))
				}
			}
			most(t.Units.CPU, t.cpu[row], bar.CPU, bar.Peer)
			for k, limit := range bar.Other {
				most(t.Units.Other[k], t.other[k][row], limit, bar.Peer)
			}
		}
	}
	return out
}
