package nodes

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

// What passes is 503 to an installer, which asks again; the rest is 403, and ends it.
func TestAdmit(t *testing.T) {
	own, other := []plan.MAC{{1}}, []plan.MAC{{9}}
	installing := func(g *rig) string { return g.Boot(g.node, g.node.IP).Token }
	withToken := func(g *rig) string { g.Acked(g.node.MACs[0], g.node.IP); return installing(g) }
	fetched := func(g *rig) string {
		token := withToken(g)
		g.RootfsFetched(g.node)
		g.IgnitionFetched(g.node)
		return token
	}
	tests := []struct {
		name       string
		prepare    func(*rig) string // gives the token
		neighbours []plan.MAC
		after      time.Duration
		says       string // empty: admitted
		forever    bool   // asking again is of no use
	}{
		{"new", nil, own, 0, "it has not asked for its boot script", false},
		{"installing, with its token", withToken, nil, 0, "", false},
		{"with its token, an hour later", withToken, nil, time.Hour, "", false},
		{"without its token", func(g *rig) string { withToken(g); return "" }, own, 0, "token is missing", true},
		{"with another token", func(g *rig) string { withToken(g); return "AAAA" }, own, 0, "token is missing", true},
		{"without a token, a neighbour", installing, own, 0, "", false},
		{"without a token, another machine", installing, other, 0, "none of w0", false},
		{"without a token, behind a router", installing, nil, 0, "helperd nodes arm w0", false},
		{"two machines claim the address", installing, append(own, other...), 0, "none of w0", false},
		{"our DHCP has proved it since", func(g *rig) string { s := installing(g); g.Acked(g.node.MACs[0], g.node.IP); return s }, nil, 0, "", false},
		{"and that is long ago", func(g *rig) string { s := installing(g); g.Acked(g.node.MACs[0], g.node.IP); return s }, nil, 16 * time.Minute, "nobody proves", false},
		{"9 minutes after a complete fetch", fetched, nil, 9 * time.Minute, "", false},
		{"11 minutes after a complete fetch", fetched, nil, 11 * time.Minute, "has expired", true},
		{"11 minutes after one without a token", func(g *rig) string { installing(g); g.IgnitionFetched(g.node); return "" }, own, 11 * time.Minute, "is not being installed", false},
		{"sent to its disk, and back for a moment", func(g *rig) string { token := fetched(g); g.wait(time.Minute); g.Boot(g.node, g.node.IP); return token }, nil, time.Minute, "", false},
		{"installed", func(g *rig) string { installing(g); g.wait(failedWithin); g.Seen(g.node, FirstBoot); return "" }, own, 0, "helperd nodes reinstall w0", false},
		{"armed", func(g *rig) string { g.Arm(g.node); return "" }, nil, 59 * time.Minute, "", false},
		{"armed, and another card", func(g *rig) string { g.Arm(g.node); return "" }, other, 0, "", false},
		{"armed, an hour ago", func(g *rig) string { g.Arm(g.node); return "" }, nil, 61 * time.Minute, "is not being installed", false},
		{"armed, with a token that it does not send", func(g *rig) string { withToken(g); g.Arm(g.node); return "" }, nil, 0, "", false},
		{"armed, 9 minutes after the fetch", func(g *rig) string { g.Arm(g.node); g.IgnitionFetched(g.node); return "" }, nil, 9 * time.Minute, "", false},
		{"armed, 11 minutes after the fetch", func(g *rig) string { g.Arm(g.node); g.IgnitionFetched(g.node); return "" }, nil, 11 * time.Minute, "is not being installed", false},
		{"with the token of its ISO", func(g *rig) string { return g.ISOToken(g.node) }, nil, 23 * time.Hour, "", false},
		{"with that of an old ISO", func(g *rig) string { return g.ISOToken(g.node) }, nil, 25 * time.Hour, "is not being installed", false},
	}
	for _, tt := range tests {
		for _, restart := range []bool{false, true} {
			name := tt.name
			if restart {
				name += ", after a restart"
			}
			t.Run(name, func(t *testing.T) {
				g := newRig(t)
				g.neighbours = tt.neighbours
				token := ""
				if tt.prepare != nil {
					token = tt.prepare(g)
				}
				if restart {
					g.restart(t)
				}
				g.wait(tt.after)
				err := g.Admit(g.node, g.node.IP, token)
				if restart && strings.HasPrefix(tt.name, "our DHCP") { // what DHCP proved is not kept: it is asked again
					tt.says = "nobody proves"
				}
				if tt.says == "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Fatalf("err = %v, want %q", err, tt.says)
				}
				if errors.Is(err, ErrNotYet) == tt.forever {
					t.Errorf("%v: passes: %v", err, !tt.forever)
				}
			})
		}
	}
}

// A node that a person armed and that brings its own rootfs is written when it has its ignition.
func TestArmedInstallation(t *testing.T) {
	g := newRig(t)
	g.Arm(g.node)
	g.Seen(g.node, "its 6443 answers") // the old system
	if p := g.State(g.node).Phase; p != Armed {
		t.Fatalf("phase %s", p)
	}
	g.IgnitionFetched(g.node)
	if s := g.State(g.node); s.Phase != Written {
		t.Fatalf("state %+v", s)
	}
	g.wait(time.Minute)
	if !g.Boot(g.node, g.node.IP).Disk {
		t.Error("it is installed once more by the network")
	}
	if ev := g.events(timeline.NodeArmed); len(ev) != 1 {
		t.Errorf("events %q", ev)
	}
}

// Who opens the gate of a node that is being installed does not throw it back.
func TestArmDuringAnInstallation(t *testing.T) {
	g := newRig(t)
	g.Boot(g.node, g.node.IP)
	g.RootfsFetched(g.node)
	g.Arm(g.node)
	g.IgnitionFetched(g.node)
	if p := g.State(g.node).Phase; p != Written {
		t.Errorf("phase %s", p)
	}
}

func TestISOToken(t *testing.T) {
	g := newRig(t)
	check := func(token, says string) {
		t.Helper()
		err := g.CheckISOToken(g.node, token)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("err = %v, want %q", err, says)
		}
	}
	check("", "no ISO of w0 is waited for")
	token := g.ISOToken(g.node)
	g.restart(t)
	check(token, "")
	check("", "token is missing")
	check("AAAA", "token is missing")
	g.wait(20 * time.Hour)
	if again := g.ISOToken(g.node); again != token {
		t.Error("asking again makes the first ISO worthless")
	}
	g.wait(20 * time.Hour)
	check(token, "")
	if s := g.State(g.node); s.ISOToken != "" {
		t.Error("State shows the token")
	}
	g.Seen(g.node, "its 6443 answers") // there was no system before
	if p := g.State(g.node).Phase; p != Installed {
		t.Errorf("phase %s after its system was seen", p)
	}
	check(token, "no ISO of w0 is waited for")
	token = g.ISOToken(g.node)
	g.Seen(g.node, "its 6443 answers") // the old system
	check(token, "")
	g.Seen(g.node, FirstBoot)
	if p := g.State(g.node).Phase; p != Installed {
		t.Errorf("phase %s after its first boot", p)
	}
	token = g.ISOToken(g.node)
	g.wait(25 * time.Hour)
	check(token, "no ISO of w0 is waited for")
}

// The kernel's own table, as it is: nobody has this address.
func TestNeighboursOfNobody(t *testing.T) {
	for _, a := range []string{"192.0.2.77", "2001:db8::77"} {
		if m, err := neighbours(netip.MustParseAddr(a)); err != nil || len(m) > 0 {
			t.Errorf("%s: %v, %v", a, m, err)
		}
	}
}

// What once let an installed node have its ignition file, which holds the cluster's secrets, is of no use to who finds it later.
func TestNothingServesAnInstalledNode(t *testing.T) {
	late := func(g *rig) string { // the token was never used
		g.Acked(g.node.MACs[0], g.node.IP)
		token := g.Boot(g.node, g.node.IP).Token
		g.wait(failedWithin)
		return token
	}
	for _, tt := range []struct {
		name    string
		prepare func(*rig) string
	}{
		{"a token that was never used", late},
		{"a token that was used a moment ago", func(g *rig) string { return g.install(t) }},
		{"an open gate", func(g *rig) string { g.Arm(g.node); return "" }},
		{"an ISO", func(g *rig) string { return g.ISOToken(g.node) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.neighbours = g.node.MACs
			token := tt.prepare(g)
			if err := g.Admit(g.node, g.node.IP, token); err != nil {
				t.Fatal(err)
			}
			g.Seen(g.node, FirstBoot)
			if p := g.State(g.node).Phase; p != Installed {
				t.Fatalf("phase %s", p)
			}
			for range 2 {
				if err := g.Admit(g.node, g.node.IP, token); err == nil {
					t.Error("an installed node gets its ignition file")
				}
				g.restart(t)
			}
		})
	}
}

// The old system runs on until the machine is switched off, whatever it is to boot then.
func TestISOOfAnOrderedNode(t *testing.T) {
	g := newRig(t)
	g.Seen(g.node, "its 10250 answers")
	g.Reinstall(g.node)
	token := g.ISOToken(g.node)
	g.Seen(g.node, "its 10250 answers")
	if err := g.CheckISOToken(g.node, token); err != nil {
		t.Errorf("the old system has taken the order back: %v", err)
	}
}

// Its token has ended with the first attempt.
func TestISOAfterAFailedInstallation(t *testing.T) {
	g := newRig(t)
	if err := g.Admit(g.node, g.node.IP, g.ISOToken(g.node)); err != nil {
		t.Fatal(err)
	}
	g.IgnitionFetched(g.node)
	g.wait(11 * time.Minute)
	if err := g.Admit(g.node, g.node.IP, g.ISOToken(g.node)); err != nil {
		t.Errorf("the ISO that was asked for again is worthless: %v", err)
	}
}

func TestArmLeavesTheISO(t *testing.T) {
	g := newRig(t)
	token := g.ISOToken(g.node)
	g.Arm(g.node)
	if err := g.CheckISOToken(g.node, token); err != nil {
		t.Error(err)
	}
}
