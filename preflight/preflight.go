package preflight

import (
	"cmp"
	"context"
	"slices"

	"helperd/plan"
)

// Level of a finding.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Skipped Level = "skipped" // could not be checked here; Why says why
	Warning Level = "warning" // may do harm
	Problem Level = "problem" // something will not work
)

// A Finding is what one check saw.
type Finding struct {
	Level Level  `json:"level"`
	Check string `json:"check"`           // what was looked at: address, port, file, ...
	Where string `json:"where,omitempty"` // interface, path, address with port
	What  string `json:"what"`            // what was seen
	Why   string `json:"why,omitempty"`   // why it matters
	Do    string `json:"do,omitempty"`    // what to do about it
}

// check is one question; it gives at least one finding unless the plan has
// nothing that it applies to.
type check func(context.Context, *plan.Plan, *Env) []Finding

// Run asks all questions about p on the machine env. Findings come in the
// order in which one would repair them: by check, problems first.
func Run(ctx context.Context, p *plan.Plan, env *Env) []Finding {
	checks := []check{
		addresses, interfaces, privileges, descriptors, ports, firewalld, ufw, nftables,
		artifacts, downloads, loaders, ignitions, roots, exports, labels, clock, foreignDHCP,
	}
	var all []Finding
	for _, c := range checks {
		found := c(ctx, p, env)
		slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(rank(b.Level), rank(a.Level)) })
		all = append(all, found...)
	}
	return all
}

// Worst is the highest level among the findings.
func Worst(found []Finding) Level {
	worst := OK
	for _, f := range found {
		if rank(f.Level) > rank(worst) {
			worst = f.Level
		}
	}
	return worst
}

func rank(l Level) int { return slices.Index([]Level{OK, Skipped, Warning, Problem}, l) }
