package table

import (
	"net/netip"
	"strings"
	"testing"

	"helperd/plan"
)

func twoClusters(t testing.TB) *Frontend {
	t.Helper()
	addr := netip.MustParseAddr
	tab, err := Build(nil, &plan.Plan{LB: plan.LB{
		Enabled: true,
		Frontends: []plan.Frontend{{Name: "api", Routes: []plan.NameRoute{
			{
				Backend: "edge", Names: []string{"api.edge.example.com", "Api-Int.edge.example.com.", ".apps.edge.example.com"},
				Sources: []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")},
			},
			{Backend: "sno", Names: []string{"api.sno.example.com", ".apps.sno.example.com", ".b.apps.edge.example.com"}, Sources: []netip.Addr{addr("192.0.2.2")}},
		}}},
		Backends: []plan.Backend{{Name: "edge"}, {Name: "sno"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return tab.Frontends[0]
}

func TestRoute(t *testing.T) {
	f := twoClusters(t)
	tests := []struct {
		name, client, want string
	}{
		{"api.edge.example.com", "203.0.113.1", "edge"},
		{"API.Edge.Example.COM.", "203.0.113.1", "edge"},
		{"api-int.edge.example.com", "203.0.113.1", "edge"},
		{"api.sno.example.com", "192.0.2.1", "sno"}, // the name counts before the source
		{"x.apps.edge.example.com", "203.0.113.1", "edge"},
		{"a.x.apps.edge.example.com", "203.0.113.1", "edge"},
		{"x.b.apps.edge.example.com", "203.0.113.1", "sno"}, // the longest suffix
		{"b.apps.edge.example.com", "203.0.113.1", "edge"},
		{".apps.edge.example.com", "203.0.113.1", ""},
		{"apps.edge.example.com", "203.0.113.1", ""},
		{"xapps.edge.example.com", "203.0.113.1", ""},
		{"x.api.edge.example.com", "203.0.113.1", ""},
		{"", "192.0.2.1", "edge"},
		{"", "2001:db8::1", "edge"},
		{"", "::ffff:192.0.2.2", "sno"},
		{"other.example.net", "192.0.2.2", "sno"},
		{".", "203.0.113.1", ""},
		{"", "203.0.113.1", ""},
		{strings.Repeat("a.", 200) + "apps.edge.example.com", "203.0.113.1", ""},
	}
	for _, tt := range tests {
		got := ""
		if b := f.Route(tt.name, netip.MustParseAddr(tt.client)); b != nil {
			got = b.Name
		}
		if got != tt.want {
			t.Errorf("%q from %s: %q, want %q", tt.name, tt.client, got, tt.want)
		}
	}
	name, client := "console.Apps.edge.example.com", netip.MustParseAddr("203.0.113.1")
	if n := testing.AllocsPerRun(100, func() { f.Route(name, client) }); n != 0 {
		t.Errorf("Route allocates %v times", n)
	}
}

func TestRouteDefault(t *testing.T) {
	tab, err := Build(nil, &plan.Plan{LB: plan.LB{
		Enabled: true,
		Frontends: []plan.Frontend{
			{Name: "plain", Backend: "b"},
			{Name: "routed", Backend: "b", Routes: []plan.NameRoute{{Backend: "a", Names: []string{"a.example.com"}}}},
		},
		Backends: []plan.Backend{{Name: "a"}, {Name: "b"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"b", "a"} {
		if b := tab.Frontends[i].Route("a.example.com", netip.Addr{}); b == nil || b.Name != want {
			t.Errorf("frontend %d: %v", i, b)
		}
		if b := tab.Frontends[i].Route("", netip.Addr{}); b == nil || b.Name != "b" {
			t.Errorf("frontend %d by default: %v", i, b)
		}
	}
	for _, f := range []plan.Frontend{{Name: "f"}, {Name: "f", Routes: []plan.NameRoute{{Backend: "gone"}}}} {
		if _, err := Build(nil, &plan.Plan{LB: plan.LB{Enabled: true, Frontends: []plan.Frontend{f}}}); err == nil {
			t.Errorf("no backend, no error: %+v", f)
		}
	}
}

func TestAllows(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}
	some := Frontend{Config: plan.Frontend{Allow: list, AcceptProxy: list}}
	none := Frontend{Config: plan.Frontend{Allow: []netip.Prefix{}}}
	for client, want := range map[string]bool{
		"192.0.2.9": true, "::ffff:192.0.2.9": true, "192.0.3.9": false, "::ffff:192.0.3.9": false,
		"2001:db8::9": true, "2001:db8:0:1::9": false, "::192.0.2.9": false,
	} {
		a := netip.MustParseAddr(client)
		if some.Allows(a) != want || some.FromProxy(a) != want {
			t.Errorf("%s: allowed %v, from a proxy %v, want %v", client, some.Allows(a), some.FromProxy(a), want)
		}
		if none.Allows(a) {
			t.Errorf("%s is allowed by an empty list", client)
		}
		if every := (&Frontend{}); !every.Allows(a) || every.FromProxy(a) {
			t.Errorf("%s: without lists allowed %v, from a proxy %v", client, every.Allows(a), every.FromProxy(a))
		}
	}
}
