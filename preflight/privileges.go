package preflight

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"helperd/plan"
)

// privileges looks for the capabilities of this process. The systemd unit
// grants them to the daemon, so their absence here is no proof.
func privileges(_ context.Context, _ *plan.Plan, env *Env) []Finding {
	f := Finding{Level: OK, Check: "privilege", What: "ports below 1024 and raw sockets are allowed"}
	have, err := env.Capabilities()
	if err != nil {
		f.Level, f.What, f.Why = Skipped, "the capabilities cannot be read", err.Error()
		return []Finding{f}
	}
	var missing []string
	for _, c := range []struct {
		bit  int
		name string
	}{{unix.CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}} {
		if have&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		f.Level, f.What = Warning, "this process lacks "+strings.Join(missing, " and ")
		f.Why = "helperd started like this could not bind ports below 1024 or answer machines that have no address yet"
		f.Do = "start helperd by its systemd unit, which grants both, and run preflight as root"
	}
	return []Finding{f}
}

// descriptors compares the limit with what the balancer may need: two a connection.
func descriptors(_ context.Context, p *plan.Plan, env *Env) []Finding {
	f := Finding{Level: OK, Check: "limit", Where: "open files"}
	limit, err := env.Descriptors()
	if err != nil {
		f.Level, f.What, f.Why = Skipped, "the limit cannot be read", err.Error()
		return []Finding{f}
	}
	need := uint64(1024)
	if p.LB.Enabled {
		need += 2 * uint64(p.LB.MaxConnections)
	}
	f.What = fmt.Sprintf("%d are allowed, %d are enough", limit, need)
	if limit < need {
		f.Level, f.What = Warning, fmt.Sprintf("%d are allowed and %d may be needed", limit, need)
		f.Why = fmt.Sprintf("lb.max_connections is %d and a connection takes two", p.LB.MaxConnections)
		f.Do = fmt.Sprintf("set LimitNOFILE=%d in the unit (the packaged one has 262144), or lower lb.max_connections", need)
	}
	return []Finding{f}
}
