package nodes

import (
	"net/netip"
	"testing"
	"time"

	"helperd/plan"
)

// Only a machine that may be the node decides what the node does next.
func TestAnswer(t *testing.T) {
	own := netip.MustParseAddr("10.0.0.21")
	tests := []struct {
		name   string
		acked  map[plan.MAC]string // by DHCP
		addr   string
		decide bool
		token  bool
	}{
		{"its address, proven", map[plan.MAC]string{{1}: "10.0.0.21"}, "10.0.0.21", true, true},
		{"its address, not proven", nil, "10.0.0.21", true, false},
		{"an address of the pool that its MAC got", map[plan.MAC]string{{1}: "10.0.0.99"}, "10.0.0.99", true, true},
		{"an address that nobody knows", nil, "10.0.0.99", true, false},
		{"a browser, while the node is elsewhere", map[plan.MAC]string{{1}: "10.0.0.21"}, "10.0.0.99", false, false},
		{"a machine that DHCP knows", map[plan.MAC]string{{9}: "10.0.0.99"}, "10.0.0.99", false, false},
		{"from outside", nil, "10.9.0.99", false, false},
		{"a host of the file", nil, "10.0.0.50", false, false},
		{"nobody", nil, "", false, false},
		{"another node", nil, "10.0.0.22", false, false},
		{"the helper", nil, "10.0.0.2", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			p := &plan.Plan{
				Helper:   plan.Helper{Address: netip.MustParseAddr("10.0.0.2")},
				Networks: []plan.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/24")}},
				Hosts:    []plan.Host{{Name: "desk", IP: netip.MustParseAddr("10.0.0.50")}},
				Nodes:    []*plan.Node{g.node, {Name: "w1", FQDN: "w1.ocp4.example.com", IP: netip.MustParseAddr("10.0.0.22")}},
			}
			g.node.IP = own
			for mac, addr := range tt.acked {
				g.Acked(mac, netip.MustParseAddr(addr))
			}
			from, _ := netip.ParseAddr(tt.addr)
			s := g.Answer(p, g.node, from)
			if decided := g.State(g.node).Phase == Installing; decided != tt.decide {
				t.Errorf("decided %v, want %v", decided, tt.decide)
			}
			if s.Disk || (s.Token != "") != tt.token {
				t.Errorf("script %+v, want a token: %v", s, tt.token)
			}
		})
	}
}

// An address of the pool that DHCP has given to another machine proves nothing
// for the one that had it before: it must not bring its token to the other.
func TestAddressGivenAgain(t *testing.T) {
	g := newRig(t)
	shared := netip.MustParseAddr("10.0.0.99")
	p := &plan.Plan{Networks: []plan.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/24")}}, Nodes: []*plan.Node{g.node}}
	g.Acked(g.node.MACs[0], shared)
	g.wait(time.Minute)
	g.Acked(plan.MAC{9}, shared)
	if s := g.Answer(p, g.node, shared); s.Token != "" || g.State(g.node).Phase != Armed {
		t.Errorf("script %+v, phase %s: another machine has that address now", s, g.State(g.node).Phase)
	}
	g.wait(time.Minute)
	g.Acked(g.node.MACs[0], shared)
	for range 20 {
		if s := g.Answer(p, g.node, shared); s.Token == "" {
			t.Fatal("the node has its address again and gets no token")
		}
	}
}

// A machine has an address of each IP version, and both prove who it is.
func TestBothVersionsProve(t *testing.T) {
	g := newRig(t)
	four, six := netip.MustParseAddr("10.0.0.21"), netip.MustParseAddr("fd00::21")
	g.Acked(g.node.MACs[0], four)
	g.Acked(g.node.MACs[0], six)
	if !g.Proven(g.node, four) || !g.Proven(g.node, six) {
		t.Errorf("IPv4 proven: %v, IPv6 proven: %v", g.Proven(g.node, four), g.Proven(g.node, six))
	}
	moved := netip.MustParseAddr("fd00::22")
	g.Acked(g.node.MACs[0], moved)
	if !g.Proven(g.node, four) || g.Proven(g.node, six) || !g.Proven(g.node, moved) {
		t.Error("a new IPv6 address does not take the place of the old one, and of that alone")
	}
}

// Peek says what Boot says, whatever the phase, and leaves no trace.
func TestPeek(t *testing.T) {
	g := newRig(t)
	agree := func(when string) {
		t.Helper()
		before := g.State(g.node).Phase
		peeked := g.Peek(g.node)
		if after := g.State(g.node).Phase; after != before {
			t.Errorf("%s: peeking took the node from %s to %s", when, before, after)
		}
		if said := g.Boot(g.node, g.node.IP); said.Disk != peeked.Disk || peeked.Token != "" {
			t.Errorf("%s: peeked %+v, then %+v was said", when, peeked, said)
		}
	}
	agree("new")
	g.wait(time.Minute)
	agree("installation broke off")
	g.RootfsFetched(g.node)
	g.IgnitionFetched(g.node)
	g.wait(time.Minute)
	agree("written")
	g.wait(10 * time.Second)
	agree("asked again at once")
	g.wait(time.Minute)
	agree("from the network again: failed")
	g.RootfsFetched(g.node)
	g.IgnitionFetched(g.node)
	g.wait(time.Minute)
	agree("written again")
	g.wait(time.Minute)
	agree("retries spent")
	g.Reinstall(g.node)
	agree("reinstall")
	g.wait(time.Minute)
	g.RootfsFetched(g.node)
	g.IgnitionFetched(g.node)
	g.wait(time.Minute)
	g.Boot(g.node, g.node.IP)
	g.Seen(g.node, "connected to 22623")
	g.wait(time.Minute)
	agree("installed")
}

// The neighbour table may show another card than DHCP was asked with: of a proxy, or of a
// hypervisor that gives its machines one. One proof is enough.
func TestTokenBehindAProxy(t *testing.T) {
	g := newRig(t)
	g.Acked(g.node.MACs[0], g.node.IP)
	g.neighbours = []plan.MAC{{9}}
	s := g.Boot(g.node, g.node.IP)
	if s.Token == "" {
		t.Fatal("DHCP proves its address, and it gets no token")
	}
	if err := g.Admit(g.node, g.node.IP, s.Token); err != nil {
		t.Error(err)
	}
}

// Who has an address that our DHCP did not give is seen in the neighbour table.
func TestStrangerOfThePoolDecidesNothing(t *testing.T) {
	g := newRig(t)
	p := &plan.Plan{Networks: []plan.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/24")}}, Nodes: []*plan.Node{g.node}}
	g.install(t)
	g.wait(time.Hour)
	g.neighbours = []plan.MAC{{9}}
	g.Answer(p, g.node, netip.MustParseAddr("10.0.0.99"))
	if ph := g.State(g.node).Phase; ph != Written {
		t.Errorf("phase %s", ph)
	}
}
