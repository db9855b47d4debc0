package preflight

import (
	"context"
	"fmt"
	"time"

	"helperd/ignition"
	"helperd/plan"
)

// ignitions looks at the ignition files: readable, sound, certificates valid, no
// secrets for everybody.
func ignitions(_ context.Context, p *plan.Plan, env *Env) []Finding {
	var found []Finding
	look := func(g *plan.Ignition, path, why string) {
		f := env.file("ignition", path, why)
		if f.Level == OK {
			f = env.ignition(g, path, f)
		} else if f.Level == Problem && f.What == "is not there" {
			f.Do = "make it with: openshift-install create ignition-configs, and copy *.ign there"
		}
		found = append(found, f)
	}
	for i := range p.HTTP.Ignition {
		g := &p.HTTP.Ignition[i]
		if g.Node != nil {
			continue // made of the role's
		}
		look(g, g.File, fmt.Sprintf("no %s of %s gets its configuration", g.Role, g.Cluster))
		for _, n := range g.Nodes {
			if own := g.Own(n); own != "" {
				if _, err := env.Stat(own); err == nil {
					look(g, own, n.FQDN+" does not get its configuration")
				}
			}
		}
	}
	return found
}

func (env *Env) ignition(g *plan.Ignition, path string, f Finding) Finding {
	b, err := env.ReadFile(path)
	if err != nil {
		f.Level, f.What, f.Why, f.Do = Skipped, "cannot be read here", err.Error(), "run preflight as root"
		return f
	}
	const again = "make the files anew: openshift-install create ignition-configs, in an empty folder"
	c, err := ignition.Parse(b)
	if err != nil {
		f.Level, f.What, f.Why, f.Do = Problem, "is no Ignition file: "+err.Error(), "helperd refuses to serve it, and the installer would stop at it", again
		return f
	}
	f.What = "is Ignition " + c.Version
	left := c.Ends.Sub(env.Now())
	if !c.Ends.IsZero() {
		f.What += ", its certificates hold until " + c.Ends.Local().Format("2006-01-02 15:04")
	}
	switch {
	case c.Ends.IsZero() || left > ignition.Soon:
		return env.exposed(path, f)
	case left > 0:
		f.Level, f.Why, f.Do = Warning, fmt.Sprintf("%s are left, and bootstrap must finish before", left.Round(time.Minute)), again
	case g.Expired:
		f.Level, f.Why, f.Do = Warning, "they have expired; the file is served because ignition_expired says so", again
	default:
		f.Level, f.Why, f.Do = Problem, "they have expired; helperd refuses to serve the file, and a cluster could not start with it", again
	}
	return f
}

// exposed warns of a file that every user of this machine may read.
func (env *Env) exposed(path string, f Finding) Finding {
	if st, err := env.Stat(path); err == nil && st.Mode().Perm()&0o004 != 0 {
		f.Level, f.Why, f.Do = Warning, "every user of this machine may read it, and it holds secrets of the cluster", "chmod o-r "+path
	}
	return f
}
