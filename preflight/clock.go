package preflight

import (
	"context"

	"helperd/plan"
)

// clock asks the kernel whether something keeps its clock right.
func clock(_ context.Context, _ *plan.Plan, env *Env) []Finding {
	f := Finding{Level: OK, Check: "clock", What: "is synchronised"}
	good, err := env.Synchronised()
	switch {
	case err != nil:
		f.Level, f.What, f.Why = Skipped, "the kernel does not say whether it is synchronised", err.Error()
	case !good:
		f.Level, f.What = Warning, "is not synchronised"
		f.Why = "nodes take the time from here; a difference of minutes makes the installation's certificates invalid"
		f.Do = "systemctl enable --now chronyd, and name a source in /etc/chrony.conf; see: chronyc tracking"
	}
	return []Finding{f}
}
