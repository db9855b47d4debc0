package check

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"helperd/services/lb/table"
)

func TestHealth(t *testing.T) {
	const (
		starting = table.Starting
		up       = table.Up
		unready  = table.Unready
		dead     = table.Dead
	)
	tests := []struct {
		name     string
		start    table.State
		verdicts []Verdict
		want     []table.State
	}{
		{"the first success is enough", starting, []Verdict{OK}, []table.State{up}},
		{"the first red is enough", starting, []Verdict{Red}, []table.State{unready}},
		{"the first refusal is enough", starting, []Verdict{Refused}, []table.State{dead}},
		{"nothing learned", starting, []Verdict{Unknown, OK}, []table.State{starting, up}},
		{"fall 2 by red", up, []Verdict{Red, Red}, []table.State{up, unready}},
		{"fall 2 by refusals", up, []Verdict{Refused, Refused}, []table.State{up, dead}},
		{"red and refused: down, and not dead yet", up, []Verdict{Red, Refused, Refused}, []table.State{up, unready, dead}},
		{"a single failure is forgiven", up, []Verdict{Red, OK, Refused, OK}, []table.State{up, up, up, up}},
		{"rise 3", dead, []Verdict{OK, OK, OK}, []table.State{unready, unready, up}},
		{"rise 3 is broken by a failure", unready, []Verdict{OK, OK, Red, OK, OK, OK}, []table.State{unready, unready, unready, unready, unready, up}},
		{"dead answers red", dead, []Verdict{Red, Refused, Refused}, []table.State{unready, unready, dead}},
		{"trouble of this machine counts for nothing", up, []Verdict{Red, Unknown, Unknown, Red}, []table.State{up, up, up, unready}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := health{state: tt.start}
			var got []table.State
			for _, v := range tt.verdicts {
				got = append(got, h.add(v, 2, 3))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
