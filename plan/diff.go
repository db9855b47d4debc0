package plan

import "strings"

// Diff says what a person will see change from old, which may be nil, to p:
// lines of Sections behind the service's name and a minus or plus, in the
// order of the sections. The serials of zones are left out: they always change.
func Diff(old, p *Plan) []string {
	before, after := map[string][]string{}, map[string][]string{}
	var order []string
	for _, from := range []struct {
		*Plan
		into map[string][]string
	}{{old, before}, {p, after}} {
		if from.Plan == nil {
			continue
		}
		for _, s := range from.Sections() {
			if before[s.Name] == nil && after[s.Name] == nil {
				order = append(order, s.Name)
			}
			from.into[s.Name] = s.Lines
		}
	}
	var out []string
	for _, name := range order {
		out = append(out, only(name+": - ", before[name], after[name])...)
		out = append(out, only(name+": + ", after[name], before[name])...)
	}
	return out
}

// only gives the lines of a that are not in b.
func only(prefix string, a, b []string) []string {
	have := make(map[string]bool, len(b))
	for _, l := range b {
		have[l] = true
	}
	var out []string
	for _, l := range a {
		if !have[l] && !strings.Contains(l, " IN SOA ") {
			out = append(out, prefix+l)
		}
	}
	return out
}
