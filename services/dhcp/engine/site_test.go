package engine

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/timeline"
)

var siteMAC = plan.MAC{0x02, 0, 0, 0, 0, 0xaa}

// onlyProxied is the first network of proxied.
func onlyProxied() *plan.DHCP {
	d := proxied()
	d.Subnets = d.Subnets[:1]
	return d
}

func (l *lab) sites() (servers []Foreign, none int) {
	servers, absent := l.e.Sites(l.now)
	return servers, len(absent)
}

func (l *lab) heardServer(mac plan.MAC, addr string) {
	l.e.Heard(l.link(), ip(addr), mac, l.now, &l.last)
}

func TestSiteServer(t *testing.T) {
	l := newLab(t, onlyProxied())
	if _, none := l.sites(); none != 0 {
		t.Error("missed before it had time to answer")
	}
	l.now += lookFor
	if _, none := l.sites(); none != 1 {
		t.Error("not missed")
	}
	l.heardServer(siteMAC, "192.168.67.1")
	if diff := cmp.Diff([]timeline.Kind{timeline.DHCPSite}, l.events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	servers, none := l.sites()
	want := []Foreign{{Network: netip.MustParsePrefix("192.168.67.0/24"), Server: ip("192.168.67.1"), MAC: siteMAC}}
	if diff := cmp.Diff(want, servers, cmpopts.IgnoreUnexported(Foreign{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || none != 0 {
		t.Errorf("%d missed; servers (-want +got):\n%s", none, diff)
	}
	if len(l.e.Foreign(l.now)) != 0 {
		t.Error("the network's own server is reported as foreign")
	}
	l.now += 300
	l.heardServer(siteMAC, "192.168.67.1")
	if len(l.last.Events) != 0 {
		t.Errorf("told again: %v", l.last.Events)
	}
	// What the client says does not stand for a server that answered before.
	l.now += foreignFor
	l.send(node, dhcpv4.MessageTypeRequest, server("192.168.67.1"), requested("192.168.67.10"))
	if _, none := l.sites(); none != 1 {
		t.Error("a server that answers no more is not missed")
	}
}

// A server that answers known machines alone never answers our own question.
func TestSiteServerOfKnownMachines(t *testing.T) {
	l := newLab(t, onlyProxied())
	l.now += lookFor
	l.send(node, dhcpv4.MessageTypeRequest, server("192.168.67.1"), requested("192.168.67.10"))
	l.now += wordFor - 1
	if servers, none := l.sites(); none != 0 || len(servers) != 1 {
		t.Errorf("servers %v, %d missed", servers, none)
	}
	l.now++
	if _, none := l.sites(); none != 1 {
		t.Error("one word counts for ever")
	}
}

// Clients that name any number of servers neither fill the memory nor drive out the one that answers.
func TestSiteNamesAreBounded(t *testing.T) {
	l := newLab(t, onlyProxied())
	l.heardServer(siteMAC, "192.168.67.1")
	for i := range 50 {
		l.send(stranger, dhcpv4.MessageTypeRequest, server(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String()), requested("192.168.67.77"))
	}
	servers, _ := l.sites()
	if len(servers) > mostServers || !slices.ContainsFunc(servers, func(f Foreign) bool { return f.MAC == siteMAC }) {
		t.Errorf("servers %v", servers)
	}
}

// The mode changes on a running engine: what was foreign is expected, and the other way round.
func TestModeChangesLive(t *testing.T) {
	d := onlyProxied()
	l := newLab(t, d)
	l.heardServer(siteMAC, "192.168.67.1")
	d.Subnets[0].Mode = plan.ModeServer
	l.adopt(d)
	if servers, none := l.sites(); len(servers)+none != 0 {
		t.Errorf("mode server: servers %v, %d missed", servers, none)
	}
	if a := l.lease(node); a != ip("192.168.67.10") {
		t.Errorf("mode server gives %v", a)
	}
	l.heardServer(siteMAC, "192.168.67.1")
	if len(l.e.Foreign(l.now)) != 1 {
		t.Error("mode server: a foreign server is not reported")
	}
	d.Subnets[0].Mode = plan.ModeProxy
	l.adopt(d)
	if len(l.e.Foreign(l.now)) != 0 {
		t.Error("mode proxy: the network's server is still foreign")
	}
	if got := l.send(node, dhcpv4.MessageTypeRequest, ciaddr("192.168.67.10")); got != nil {
		t.Errorf("mode proxy answers a renewal: %s", got.Summary())
	}
	d.Subnets[0].Mode = plan.ModeOff
	l.adopt(d)
	if got := l.e.Policy().Subnets(); len(got) != 0 {
		t.Errorf("mode off serves %v", got)
	}
}

// When the clock is set, servers that were heard stay so.
func TestSiteClockStep(t *testing.T) {
	l := newLab(t, onlyProxied())
	l.heardServer(siteMAC, "192.168.67.1")
	const by = 100_000
	l.now += by
	l.e.Stepped(by, l.now)
	if _, none := l.sites(); none != 0 {
		t.Error("missed after the clock was set")
	}
}
