package dhcp6

import (
	"context"
	"testing"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/services"
	"helperd/services/servicetest"
)

// TestMain lets the service under test run in a process of its own, inside a network namespace.
func TestMain(m *testing.M) {
	servicetest.Main(m, func(h services.Host) (services.Service, map[string]servicetest.Verb) {
		s := New(h)
		return s, map[string]servicetest.Verb{"plan": func(device string) any {
			p := scenario()
			p.DHCP6.Subnets = p.DHCP6.Subnets[:1]
			p.DHCP6.Subnets[0].Interface = device
			return apply(s, p)
		}}
	})
}

func apply(s *Service, p *plan.Plan) any {
	c, err := s.Prepare(context.Background(), p)
	if err != nil {
		return err
	}
	c.Commit()
	return "ok"
}

// An interface without IPv6 has a socket by which nobody can be heard. That is said, and the
// interface is served as soon as IPv6 is switched on.
func TestIPv6IsOff(t *testing.T) {
	srv, cli := netns.New(t), netns.New(t)
	netns.Link(t, srv, cli, "", "")
	off := func(value string) {
		t.Helper()
		srv.Run(t, "sh", "-c", "echo "+value+" >/proc/sys/net/ipv6/conf/eth0/disable_ipv6")
	}
	off("1")
	p := servicetest.StartProcess(t, srv, t.TempDir())
	p.Must("plan eth0")
	p.Until("status", servicetest.Contains("interface eth0 has no link-local address; is IPv6 switched off there"))
	p.Serving() // no change of the file is taken back for it
	off("0")
	p.Until("status", servicetest.Contains(`"state":"up"`))
	p.Serving()
	p.Stop()
}
