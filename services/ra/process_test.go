package ra

import (
	"context"
	"io"
	"strings"
	"testing"

	"helperd/config"
	"helperd/internal/netns"
	"helperd/plan"
	"helperd/services"
	"helperd/services/servicetest"
)

// TestMain lets the service under test run in a process of its own, inside a network namespace.
func TestMain(m *testing.M) {
	servicetest.Main(m, func(h services.Host) (services.Service, map[string]servicetest.Verb) {
		s := New(h)
		return s, map[string]servicetest.Verb{
			"plan": func(yaml string) any { return apply(s, yaml) },
			"export": func(string) any {
				fds, err := s.Export(io.Discard)
				if len(fds) > 0 || err != nil {
					return err
				}
				return "ok"
			},
		}
	})
}

// file is a configuration whose IPv6 networks are these, in YAML's flow style.
func file(networks ...string) string {
	return `{version: 1, helper: {address: 192.168.7.2, address6: "fd00:7::2"}, networks: [{cidr: 192.168.7.0/24, gateway: 192.168.7.1}, ` + strings.Join(networks, ", ") + `]}`
}

// apply serves a configuration and gives "ok" or what is wrong with it.
func apply(s *Service, yaml string) any {
	c, ds := config.Load([]byte(yaml))
	if ds.HasErrors() {
		return strings.ReplaceAll(ds.Error(), "\n", "; ")
	}
	p, ds := plan.Compile(c, plan.Facts{Serial: 1})
	if ds.HasErrors() {
		return strings.ReplaceAll(ds.Error(), "\n", "; ")
	}
	change, err := s.Prepare(context.Background(), p)
	if err != nil {
		return err
	}
	change.Commit()
	return "ok"
}

// startProcess starts the service, by a wrapper such as setpriv if there is one, and serves a configuration.
func startProcess(t *testing.T, ns *netns.NS, yaml string, wrapper ...string) *servicetest.Process {
	t.Helper()
	p := servicetest.StartProcess(t, ns, "", wrapper...)
	p.Must("plan " + yaml)
	return p
}
